package config

import (
	"embed"
	"path"
	"strings"
)

//go:embed plants/*.toml
var plants embed.FS

// Plant is a complete file for one kind of site, commented for who adapts it.
type Plant struct {
	Name  string // as "pump-house"
	About string // its first sentence: "A pump house: four water pumps, …"
	Text  []byte
}

// Plants are the example files, by name.
func Plants() []Plant {
	var all []Plant
	entries, _ := plants.ReadDir("plants") // embedded: it is there, and sorted
	for _, e := range entries {
		text, _ := plants.ReadFile(path.Join("plants", e.Name()))
		all = append(all, Plant{strings.TrimSuffix(e.Name(), ".toml"), about(string(text)), text})
	}
	return all
}

// about is the first sentence of a file's first comment.
func about(text string) string {
	_, text, _ = strings.Cut(text, "\n#\n# ")
	text, _, _ = strings.Cut(text, ". ")
	text, _, _ = strings.Cut(text, ".\n")
	return strings.ReplaceAll(text, "\n# ", " ")
}
