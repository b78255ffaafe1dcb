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

const (
	noNumber    = "this is no number"
	someNumbers = "write 75, 75.5 or 7.55e1"
)

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
	{"exponent must", noNumber, someNumbers},
	{"expected digit", noNumber, someNumbers},
	{"number after sign", noNumber, someNumbers},
	{"decimal point must", noNumber, someNumbers},
	{"between underscores", noNumber, someNumbers},
	{"radix prefix", noNumber, someNumbers},
	{"control characters", "there is an invisible character here", "type the line anew"},
	{"expected value", "there is no value here", "give the key a value"},
	{"comma in inline table", "there is a comma too many", "remove it"},
	{"expected newline", "there is more behind the value", "begin a new line, or put # before a remark"},
	{"carriage return", "a line ends in a carriage return alone", "save the file with the line ends of Unix or Windows"},
}

const otherQuotes = "“”„‟‘’‚‛«»‹›´`″′"

// notSpaces look like a space, or like nothing, and come with what is copied from
// web pages and documents.
const notSpaces = "\u00a0\u2007\u202f\u2002\u2003\u2009\u200b\u200c\u200d\u2060\ufeff"

var (
	// decimalComma is a number as much of Europe writes it.
	decimalComma = regexp.MustCompile(`^[+-]?\d+(?:[. ']\d{3})*,\d+$`)
	// commaInRow is one before the place at which it was understood as a key.
	commaInRow = regexp.MustCompile(`=\s*([+-]?\d+,\d+)\s*$`)
	// bareFraction lacks its zero.
	bareFraction = regexp.MustCompile(`^[+-]?\.\d+$`)
	// withUnit is a number with what it counts behind it.
	withUnit = regexp.MustCompile(`^([+-]?\d+(?:\.\d+)?)\s*([^\s\d,;#"'][^,;#"']*)$`)
	// truths are the words for true and false that are neither.
	truths = map[string]string{"yes": "true", "on": "true", "ja": "true", "oui": "true", "si": "true", "sí": "true", "wahr": "true", "vrai": "true",
		"no": "false", "off": "false", "nein": "false", "non": "false", "falsch": "false", "faux": "false"}
)

// explain puts a message of the parser into the words of somebody who writes
// such files, with the cure.
func explain(doc *document, at span, said string) (told, cure string) {
	told = said
	for _, e := range syntaxErrors {
		if strings.Contains(said, e.said) {
			told, cure = e.told, e.cure
			break
		}
	}
	m := newMistake(doc, at)
	if told, cure := m.typed(said, told); told != "" {
		return told, cure
	}
	if m.behind(":") && strings.Contains(said, "'=' after key") {
		cure = `write "key = value", with = and not :`
	}
	closing := "]"
	if m.char == '{' {
		closing = "}"
	}
	fill := strings.NewReplacer("{quoted}", m.quoted(), "{char}", string(m.char), "{closing}", closing)
	return fill.Replace(told), fill.Replace(cure)
}

// mistake is the place at which the parser stumbled.
type mistake struct {
	before     string // of the line: what stands before the place
	rest       string // of the line: the place and what follows it
	char       rune   // at the place
	key, value string // of a line "key = value # remark"; both may be empty
	secret     bool   // the line holds something that must not be shown
}

func newMistake(doc *document, at span) mistake {
	bounds := doc.bounds(doc.line(at.from))
	line := string(doc.text[bounds.from:bounds.to])
	cut := max(0, min(at.from-bounds.from, len(line)))
	m := mistake{before: line[:cut], rest: line[cut:], secret: doc.isSecret(bounds)}
	m.char, _ = utf8.DecodeRune(doc.text[min(at.from, len(doc.text)-1):])
	if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
		m.key = strings.TrimSpace(key)
		m.value, _, _ = strings.Cut(strings.TrimSpace(value), " #")
		m.value = strings.TrimSpace(m.value)
	}
	return m
}

// behind reports whether the text stands at the place, after spaces.
func (m mistake) behind(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(m.rest, " "), text)
}

// typed finds what a keyboard, a language or a document that was copied from put
// into the file; told is empty where it is none of that.
func (m mistake) typed(said, known string) (told, cure string) {
	unclosed := strings.Contains(known, "quote is not closed")
	switch {
	case said == neverClosed:
	case m.key != "" && m.value == "":
		return "there is no value behind =", fmt.Sprintf("give %s a value, or remove the line", m.key)
	case strings.ContainsRune(notSpaces, m.char):
		return "this looks like a space and is another character", "type the line anew, with ordinary spaces"
	case strings.ContainsRune(otherQuotes, m.char), unclosed && strings.ContainsAny(m.rest+m.value, otherQuotes),
		strings.Contains(said, "inline table key-value") && strings.ContainsAny(m.before, otherQuotes):
		return "these are typographic quotes", `use straight quotes: "…"`
	case m.secret:
	case decimalComma.MatchString(m.value):
		return "a number has a point, not a comma", "write " + pointed(m.value)
	case strings.Contains(said, "'=' after key") && commaInRow.MatchString(m.before):
		return "a number has a point, not a comma", "write " + pointed(commaInRow.FindStringSubmatch(m.before)[1])
	case bareFraction.MatchString(m.value):
		return "a number begins with a digit", "write " + strings.Replace(m.value, ".", "0.", 1)
	case strings.ContainsRune("–—−", m.char):
		return "this is a dash, not a minus sign", "write - in its place"
	case strings.Contains(said, "expected newline") && m.behind(";"):
		return "a line does not end with ;", "remove the ;"
	case withUnit.MatchString(m.value) && strings.Contains(said, "expected newline"):
		number := withUnit.FindStringSubmatch(m.value)
		return "there is more behind the number", fmt.Sprintf("write the number alone: %s = %s; the unit is named where the channel is read", m.key, number[1])
	case strings.Contains(said, "UTF-8") && m.rest != "" && strings.IndexByte("\xb0\xb5\xb2\xb3", m.rest[0]) >= 0:
		return known, `save the file as UTF-8; or write units without special letters: "Cel", "um", "m3/h"`
	}
	return "", ""
}

// pointed writes a number with a decimal comma as TOML wants it.
func pointed(value string) string {
	return strings.NewReplacer(".", "", " ", "", "'", "", ",", ".").Replace(value)
}

// quoted is how to write the line's value, which is neither text nor anything
// else.
func (m mistake) quoted() string {
	if m.key == "" || m.secret || strings.ContainsAny(m.value, `"'[]{},`) {
		return `write text in quotes: key = "text"`
	}
	low := strings.ToLower(m.value)
	switch {
	case low == "true" || low == "false":
		return fmt.Sprintf("write it in small letters: %s = %s", m.key, low)
	case truths[low] != "":
		return fmt.Sprintf("write true or false: %s = %s", m.key, truths[low])
	}
	return fmt.Sprintf("write text in quotes: %s = %q", m.key, m.value)
}
