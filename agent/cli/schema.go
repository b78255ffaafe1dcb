package cli

import (
	"fmt"

	"tocsin/agent/alarms"
	"tocsin/agent/config"
	"tocsin/agent/health"
	"tocsin/agent/pipeline"
)

// schema prints a JSON Schema.
func schema(c *call) error {
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	schemas := map[string]func() []byte{"config": config.Schema, "event": alarms.Schema, "status": health.Schema, "scores": pipeline.ScoresSchema, "samples": pipeline.SamplesSchema}
	if len(words) == 0 || schemas[words[0]] == nil {
		return fmt.Errorf("say which schema: config, event, status, scores or samples: %w", errUsage)
	}
	_, err = c.Out.Write(schemas[words[0]]())
	return err
}
