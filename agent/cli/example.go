package cli

import (
	"fmt"

	"tocsin/agent/config"
)

// example prints the configuration of one of the plants that come with the
// binary, for a person to adapt, or lists them.
func example(c *call) error {
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	plants := config.Plants()
	if len(words) == 0 {
		p := &printer{to: c.Out}
		for _, plant := range plants {
			p.line("%s\n    %s", plant.Name, plant.About)
		}
		p.line("\nto begin with one: tocsin example %s >site.toml", plants[0].Name)
		return p.err
	}
	names := make([]string, 0, len(plants))
	for _, plant := range plants {
		if plant.Name == words[0] {
			_, err := c.Out.Write(plant.Text)
			return err
		}
		names = append(names, plant.Name)
	}
	cure := "there are " + shortList(names)
	if near := config.Nearest(words[0], names); near != "" {
		cure = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("there is no example %q; %s: %w", words[0], cure, errUsage)
}
