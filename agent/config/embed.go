package config

import (
	_ "embed"
	"slices"
)

//go:embed example.toml
var example []byte

//go:embed tocsin.schema.json
var schema []byte

// Example is a commented file that shows every key, source and detector.
func Example() []byte { return slices.Clone(example) }

// Schema is the JSON Schema (draft 2020-12) of the file. An editor completes and
// explains keys by it when the first line is "#:schema ./tocsin.schema.json".
func Schema() []byte { return slices.Clone(schema) }
