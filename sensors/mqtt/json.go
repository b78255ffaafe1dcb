package mqtt

import (
	"bytes"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"tocsin/sensors"
)

// fault says what is wrong with a whole message.
type fault uint8

const (
	sound fault = iota
	malformed
	tooLarge
)

// scanner reads one JSON value (RFC 8259) and keeps of it only what a scope
// wants. It checks all of it, also what it skips. Beyond the standard it takes
// NaN, Infinity and -Infinity, as Python writes them, for numbers that are not
// finite: one dead sensor must not cost the readings beside it.
type scanner struct {
	b       []byte
	i       int
	scope   *scope
	numbers []float64
	refused [sensors.Reasons]int
	emit    func(*scope) fault // called when all of a scope's value was read
	scratch [mostKeyBytes]byte // for strings with escapes
}

// scan reads the whole payload. On a fault all that it said is void.
func (s *scanner) scan(payload []byte, sc *scope) fault {
	s.b, s.i, s.numbers = payload, 0, s.numbers[:0]
	s.refused = [sensors.Reasons]int{}
	f := s.element(sc, 0)
	if f != sound {
		return f
	}
	s.blanks()
	if s.i != len(s.b) {
		return malformed
	}
	return sound
}

// element reads one value with a scope of its own.
func (s *scanner) element(sc *scope, depth int) fault {
	outer, first := s.scope, len(s.numbers)
	s.scope = sc
	sc.begin()
	f := s.value(&sc.root, nil, depth)
	if f == sound {
		f = s.emit(sc)
	}
	s.numbers = s.numbers[:first]
	s.scope = outer
	return f
}

func (s *scanner) blanks() {
	for s.i < len(s.b) && s.b[s.i] <= ' ' {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// value reads the value at a node, which is nil where nobody wants anything; in
// lists the rows that want the numbers of the array around it.
func (s *scanner) value(n *node, in []int, depth int) fault {
	s.blanks()
	if s.i == len(s.b) {
		return malformed
	}
	if n != nil {
		if n.seen == s.scope.seen { // the same key twice: which of them is meant?
			return malformed
		}
		n.seen = s.scope.seen
	}
	c := s.b[s.i]
	if c == '{' || c == '[' {
		if depth == mostNesting {
			return tooLarge
		}
		s.i++
		if c == '{' {
			return s.object(n, depth+1)
		}
		return s.array(n, depth+1)
	}
	start := s.i
	k, v, f := s.scalar(c)
	if f != sound || n == nil && len(in) == 0 {
		return f
	}
	return s.keep(n, in, k, v, s.b[start:s.i])
}

func (s *scanner) object(n *node, depth int) fault {
	if n != nil {
		s.wrong(n.numbers)
	}
	s.blanks()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return sound
	}
	for {
		s.blanks()
		if s.i == len(s.b) || s.b[s.i] != '"' {
			return malformed
		}
		start := s.i + 1
		plain, f := s.text()
		if f != sound {
			return f
		}
		key := s.b[start : s.i-1]
		if len(key) > mostKeyBytes {
			return tooLarge
		}
		var m *node
		if n != nil && len(n.children) > 0 {
			if !plain {
				key = unescape(s.scratch[:0], key)
			}
			m = n.member(key)
		}
		s.blanks()
		if s.i == len(s.b) || s.b[s.i] != ':' {
			return malformed
		}
		s.i++
		if f := s.value(m, nil, depth); f != sound {
			return f
		}
		if more, f := s.more('}'); !more {
			return f
		}
	}
}

func (s *scanner) array(n *node, depth int) fault {
	var in []int
	if n != nil {
		in = n.numbers
		s.begin(in)
		if n.each != nil {
			n.each.found = true
		}
	}
	s.blanks()
	if s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		return sound
	}
	for index := 0; ; index++ {
		if s.blanks(); s.i < len(s.b) && (s.b[s.i] == '{' || s.b[s.i] == '[') {
			s.wrong(in)
			in = nil
		}
		if f := s.item(n, in, index, depth); f != sound {
			return f
		}
		if more, f := s.more(']'); !more {
			return f
		}
	}
}

// item reads an array's element, a second time where rows want it both as one of
// each and by its index.
func (s *scanner) item(n *node, in []int, index, depth int) fault {
	var m *node
	if n != nil && len(n.children) > 0 {
		m = n.element(index)
	}
	if n != nil && n.each != nil {
		start := s.i
		if f := s.element(n.each, depth); f != sound || m == nil && len(in) == 0 {
			return f
		}
		s.i = start
	}
	return s.value(m, in, depth)
}

// more steps over a comma, or over the end.
func (s *scanner) more(end byte) (bool, fault) {
	s.blanks()
	if s.i == len(s.b) {
		return false, malformed
	}
	c := s.b[s.i]
	s.i++
	if c == ',' {
		return true, sound
	}
	if c == end {
		return false, sound
	}
	return false, malformed
}

// kind is what a scalar is.
type kind uint8

const (
	number  kind = iota // or true, false
	text                // without escapes
	escaped             // text with them
	null
)

func (s *scanner) scalar(c byte) (k kind, v float64, f fault) {
	switch c {
	case '"':
		plain, f := s.text()
		if plain {
			return text, 0, f
		}
		return escaped, 0, f
	case 't':
		return number, 1, s.word("true")
	case 'f':
		return number, 0, s.word("false")
	case 'n':
		return null, 0, s.word("null")
	case 'N':
		return number, math.NaN(), s.word("NaN")
	case 'I':
		return number, math.Inf(1), s.word("Infinity")
	}
	v, end, ok := parseNumber(s.b, s.i)
	if !ok {
		if bytes.HasPrefix(s.b[s.i:], []byte("-Infinity")) {
			s.i += len("-Infinity")
			return number, math.Inf(-1), sound
		}
		return number, 0, malformed
	}
	s.i = end
	return number, v, sound
}

func (s *scanner) word(w string) fault {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return malformed
	}
	s.i += len(w)
	return sound
}

// text steps over a string; plain says that it holds no escape.
func (s *scanner) text() (plain bool, f fault) {
	b, i := s.b, s.i+1
	start, ascii := i, true
	plain = true
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			if !ascii && !utf8.Valid(b[start:i]) {
				return plain, malformed
			}
			return plain, sound
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return plain, malformed
			}
			i += n
			plain = false
		case c < ' ':
			return plain, malformed
		default:
			ascii = ascii && c < utf8.RuneSelf
			i++
		}
	}
	return plain, malformed
}

// escape is the length of the escape that b begins with, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && hex4(b[2:]) >= 0 {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// unescape appends a string whose escapes were checked. What stands for half a
// character becomes U+FFFD. It never gets longer.
func unescape(to, b []byte) []byte {
	for len(b) > 0 {
		if b[0] != '\\' {
			to, b = append(to, b[0]), b[1:]
			continue
		}
		if b[1] != 'u' {
			if i := strings.IndexByte("bfnrt", b[1]); i >= 0 {
				to = append(to, "\b\f\n\r\t"[i])
			} else {
				to = append(to, b[1])
			}
			b = b[2:]
			continue
		}
		r := hex4(b[2:])
		b = b[6:]
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
				pair = utf16.DecodeRune(r, hex4(b[2:]))
			}
			if r = pair; r != utf8.RuneError {
				b = b[6:]
			}
		}
		to = utf8.AppendRune(to, r)
	}
	return to
}
