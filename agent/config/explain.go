package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const neverClosed = "never closed"

// syntaxError is what go-toml's parser says, what it means, and the cure; {key}
// and {value} are those of the line, {char} the character that it stumbled on.
type syntaxError struct{ said, told, cure string }

const noValue = "this is neither text in quotes, a number, true nor false"

// syntaxErrors are tried in order; the first that fits is told.
var syntaxErrors = []syntaxError{
	{neverClosed, "this {char} is never closed", "write {closing} behind the last element"},
	{"UTF-8", "the file is not UTF-8 here", "save the file as UTF-8"},
	{"expected keyword", noValue, "{quoted}"},
	{"start of value", noValue, "{quoted}"},
	{"must be quoted", "text must stand in quotes", "{quoted}"},
	{"cannot have new lines", "the quote is not closed", "close the text with a quote, on the same line"},
	{"unterminated", "the quote is not closed", "close the text with a quote, on the same line"},
	{"multiline", "the three quotes are not closed", "close the text with three quotes"},
	{"escape", "\\ has a special meaning in double quotes", `write the text in single quotes, where \ means itself: 'C:\data'`},
	{"'=' after key", "the = behind the key is missing", `write "key = value"; a key with a space or a dot in it stands in quotes`},
	{"after array value", "a comma or ] is missing", "put a comma between the two"},
	{"inline table key-value", "a comma or } is missing", "put a comma between the two"},
	{"close table name", "the ] behind the table's name is missing", `write [name]; a name with a space or a special character stands in quotes: [limit."pump1.temp"]`},
	{"close array table name", "the ]] behind the table's name is missing", "write [[name]]"},
	{"start of key", "a key cannot begin with {char}", "a key is made of letters, digits, - and _, or stands in quotes"},
	{"leading zeroes", "a number cannot begin with 0", "write the number without the 0, or in quotes"},
	{"expected newline", "there is more behind the value", "begin a new line, or put # before a remark"},
	{"carriage return", "a line ends in a carriage return alone", "save the file with the line ends of Unix or Windows"},
}

// decimalComma is a number as much of Europe writes it.
var decimalComma = regexp.MustCompile(`^[+-]?\d+,\d+$`)

// explain puts a message of the parser into the words of somebody who writes
// such files, with the cure.
func explain(doc *document, at span, said string) (told, cure string) {
	bounds := doc.bounds(doc.line(at.from))
	line := string(doc.text[bounds.from:bounds.to])
	char, _ := utf8.DecodeRune(doc.text[min(at.from, len(doc.text)-1):])
	told = said
	for _, e := range syntaxErrors {
		if strings.Contains(said, e.said) {
			told, cure = e.told, e.cure
			break
		}
	}
	key, value, isPair := strings.Cut(strings.TrimSpace(line), "=")
	key = strings.TrimSpace(key)
	value, _, _ = strings.Cut(strings.TrimSpace(value), " #")
	switch {
	case isPair && decimalComma.MatchString(value) && !doc.isSecret(bounds):
		told, cure = "a number has a point, not a comma", fmt.Sprintf("write %s", strings.Replace(value, ",", ".", 1))
	case isPair && value == "":
		told, cure = "there is no value behind =", fmt.Sprintf("give %s a value, or remove the line", key)
	case strings.ContainsAny(line, "“”„‘’") && said != neverClosed:
		told, cure = "these are typographic quotes", `use straight quotes: "…"`
	case strings.Contains(said, "'=' after key") && strings.HasPrefix(strings.TrimLeft(line[min(len(line), at.from-bounds.from):], " "), ":"):
		cure = `write "key = value", with = and not :`
	}
	quoted := "write text in quotes: key = \"text\""
	if isPair && !doc.isSecret(bounds) && !strings.ContainsAny(value, `"'[]{},`) {
		quoted = fmt.Sprintf("write text in quotes: %s = %q", key, value)
		if low := strings.ToLower(value); low == "true" || low == "false" {
			quoted = fmt.Sprintf("write it in small letters: %s = %s", key, low)
		}
	}
	closing := "]"
	if char == '{' {
		closing = "}"
	}
	fill := strings.NewReplacer("{quoted}", quoted, "{char}", string(char), "{closing}", closing)
	return fill.Replace(told), fill.Replace(cure)
}
