package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// object is a JSON object that keeps the order of the structs: an editor shows
// keys in it.
type object []member

type member struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name)
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(name, ':'), value...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// generate makes the schema from the structs and their tags.
func generate(t *testing.T) []byte {
	t.Helper()
	defs := map[string]object{}
	root := structSchema(reflect.TypeFor[Config](), defs)
	root = append(object{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "tocsin.toml: one gateway"}}, root...)
	root = append(root, member{"$defs", defs})
	text, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(bytes.ReplaceAll(out.Bytes(), []byte(`\u003c`), []byte("<")), '\n')
}

func structSchema(t reflect.Type, defs map[string]object) object {
	var properties object
	var required []string
	var needs object
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		if f.Tag.Get("required") == "true" {
			required = append(required, key)
		}
		if other := f.Tag.Get("needs"); other != "" {
			needs = append(needs, member{key, []string{other}})
		}
		properties = append(properties, member{key, fieldSchema(f, defs)})
	}
	o := object{{"type", "object"}, {"additionalProperties", false}}
	if required != nil {
		o = append(o, member{"required", required})
	}
	if needs != nil {
		o = append(o, member{"dependentRequired", needs})
	}
	return append(o, member{"properties", properties})
}

// textSchema is what an editor needs to know of a text, a list of texts or the
// names in a table of tables.
func textSchema(f reflect.StructField, defs map[string]object) object {
	o := typeSchema(f.Type, defs)
	var more object
	if pattern := f.Tag.Get("pattern"); pattern != "" {
		more = append(more, member{"pattern", pattern})
	}
	if examples := f.Tag.Get("examples"); examples != "" {
		more = append(more, member{"examples", strings.Split(examples, "|")})
	}
	switch f.Type.Kind() {
	case reflect.Map:
		if more != nil {
			o = append(o, member{"propertyNames", more})
		}
	case reflect.Slice:
		if f.Type.Elem().Kind() == reflect.String {
			o = object{{"type", "array"}, {"items", append(object{{"type", "string"}}, more...)}}
		}
		if f.Name != "Ignore" { // of the others an empty list is a mistake
			o = append(o, member{"minItems", 1})
		}
	default:
		o = append(o, more...)
	}
	return o
}

// fieldSchema is a type's schema with what the field's tags say.
func fieldSchema(f reflect.StructField, defs map[string]object) object {
	o := textSchema(f, defs)
	doc, low, high := f.Tag.Get("doc"), f.Tag.Get("min"), f.Tag.Get("max")
	if wanted(f.Type) == integer || wanted(f.Type) == number {
		for _, bound := range [][2]string{{"minimum", low}, {"maximum", high}} {
			if bound[1] != "" {
				o = append(o, member{bound[0], json.Number(bound[1])})
			}
		}
	} else if high != "" {
		doc += fmt.Sprintf(" (%s to %s)", low, high)
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		o = append(o, member{"enum", strings.Split(enum, ",")})
	}
	if value, ok := f.Tag.Lookup("default"); ok {
		var v any = value
		if k := wanted(f.Type); k == integer || k == number {
			v = json.Number(value)
		} else if k == boolean {
			v = value == "true"
		}
		o = append(o, member{"default", v})
	}
	return append(object{{"description", doc}}, o...)
}

func typeSchema(t reflect.Type, defs map[string]object) object {
	switch t {
	case reflect.TypeFor[Duration]():
		return object{{"type", "string"}, {"pattern", `^([0-9]+(\.[0-9]+)?(d|h|m|s|ms|us|ns))+$`}}
	case reflect.TypeFor[Size]():
		return object{{"type", "string"}, {"pattern", `^([0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB))+$`}}
	case reflect.TypeFor[Detectors]():
		list := object{{"type", "array"}, {"uniqueItems", true}, {"items", object{{"enum", DetectorNames()}}}}
		return object{{"oneOf", []object{{{"const", "auto"}}, list}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), defs)
	case reflect.Struct:
		if _, ok := defs[t.Name()]; !ok {
			defs[t.Name()] = nil
			defs[t.Name()] = structSchema(t, defs)
		}
		return object{{"$ref", "#/$defs/" + t.Name()}}
	case reflect.Map:
		return object{{"type", "object"}, {"additionalProperties", typeSchema(t.Elem(), defs)}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", typeSchema(t.Elem(), defs)}}
	}
	return object{{"type", map[kind]string{text: "string", boolean: "boolean", integer: "integer", number: "number"}[wanted(t)]}}
}

// The embedded schema is the one that the structs make.
func TestSchemaIsCurrent(t *testing.T) {
	want := string(generate(t))
	if *update {
		if err := os.WriteFile("tocsin.schema.json", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(Schema())); diff != "" {
		t.Errorf("run go test ./agent/config -update:\n%s", diff)
	}
}

// The schema accepts every good file and refuses those whose mistake a schema
// can see, so that an editor underlines it.
func TestSchemaJudges(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("tocsin.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("tocsin.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	judge := func(text []byte) error {
		var tree map[string]any
		if err := toml.Unmarshal(text, &tree); err != nil {
			return err
		}
		encoded, err := json.Marshal(tree)
		if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		if err != nil {
			return err
		}
		return compiled.Validate(value)
	}
	good, _ := filepath.Glob("testdata/*.toml")
	for _, file := range good {
		if strings.Contains(file, ".bad.") {
			continue
		}
		if err := judge(read(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, text := range map[string][]byte{"the example": Example(), "the example, all of it": uncommented(Example())} {
		if err := judge(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range Plants() {
		if err := judge(p.Text); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
	for _, name := range []string{"unknown_key", "unknown_table", "enum", "duration", "size", "wrong_type", "detectors", "secret_in_file", "key_below_rows",
		"broker_without_scheme", "broker_other_scheme", "broker_login_in_url", "broker_without_port", "cert_without_key", "secret_empty", "unquoted_channel",
		"case_and_plural", "words_of_others", "nameless_table", "uplink_off", "uplink_topics", "kafka_topic", "no_brokers", "pointer", "false_alarms",
		"listen_everywhere", "listen_without_port", "brokers_in_one_text", "brokers_in_one_element", "sizes", "durations_in_words", "tls_as_truth", "lists"} {
		var bad *jsonschema.ValidationError
		if err := judge(read(t, "testdata/"+name+".bad.toml")); !errors.As(err, &bad) {
			t.Errorf("the schema says of %s.bad.toml: %v", name, err)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
