package config

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"
)

// fieldNamed is the number of the field that a key sets, or -1.
func fieldNamed(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("toml"); name == key && name != "" && name != "-" {
			return i
		}
	}
	return -1
}

// keysOf lists the keys of a table in the order of the struct.
func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("toml"); name != "" && name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}

// homesOf lists the tables in which a key is known.
func homesOf(key string) []string {
	found := map[string][]string{}
	homes(reflect.TypeFor[Config](), "", found)
	return found[key]
}

// homes says for every key of the file in which tables it is known.
func homes(t reflect.Type, path string, found map[string][]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		found[key] = append(found[key], homeAt(path))
		inner, below := f.Type, strings.TrimPrefix(path+"."+key, ".")
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Map {
				below += ".…"
			}
			if inner.Kind() == reflect.Slice {
				below += "[]"
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[Detectors]() {
			homes(inner, below, found)
		}
	}
}

// homeAt names the table at a path, or the rows where it ends in [].
func homeAt(path string) string {
	rows, isList := strings.CutSuffix(path, "[]")
	switch last := strings.LastIndexByte(rows, '.'); {
	case path == "":
		return "the file's top level"
	case isList && last > 0:
		return "a row of " + rows[last+1:] + " in [" + rows[:last] + "]"
	}
	return "[" + path + "]"
}

// setDefaults fills a struct from the default tags of its fields, those of the
// structs in it included. Pointers stay nil: the table was not given.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Tag.Get("toml") == "" {
			continue
		}
		if value, ok := f.Tag.Lookup("default"); ok {
			v.Field(i).Set(parsed(f.Type, value))
		} else {
			setDefaults(v.Field(i))
		}
	}
}

// parsed is a value of type t from a tag. The tags are ours and a test reads
// them all, so a wrong one leaves the zero value.
func parsed(t reflect.Type, tag string) reflect.Value {
	v := reflect.New(t).Elem()
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		_ = u.UnmarshalText([]byte(tag))
		return v
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(tag)
	case reflect.Bool:
		v.SetBool(tag == "true")
	case reflect.Float64:
		f, _ := strconv.ParseFloat(tag, 64)
		v.SetFloat(f)
	case reflect.Int, reflect.Int64:
		i, _ := strconv.ParseInt(tag, 10, 64)
		v.SetInt(i)
	case reflect.Uint64:
		u, _ := strconv.ParseUint(tag, 10, 64)
		v.SetUint(u)
	}
	return v
}

// less orders two numbers of the same type.
func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	default:
		return a.Float() < b.Float()
	}
}
