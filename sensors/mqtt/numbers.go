package mqtt

import (
	"bytes"
	"math"
	"strconv"
)

// powers are the powers of ten that a float64 holds exactly.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// parseNumber reads a JSON number (RFC 8259, section 6) at b[i:], rounded as
// strconv rounds, and says where it ends. A number too large is infinite.
func parseNumber(b []byte, i int) (v float64, end int, ok bool) {
	start, negative := i, false
	if i < len(b) && b[i] == '-' {
		negative = true
		i++
	}
	first := i
	var digits uint64 // exact while there are at most 15
	for i < len(b) && isDigit(b[i]) {
		digits = digits*10 + uint64(b[i]-'0')
		i++
	}
	n := i - first
	if n == 0 || n > 1 && b[first] == '0' {
		return 0, i, false
	}
	exponent := 0
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && isDigit(b[i]) {
			digits = digits*10 + uint64(b[i]-'0')
			i++
		}
		if i == point {
			return 0, i, false
		}
		exponent = point - i
		n += i - point
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e, after, ok := parseExponent(b, i+1)
		if i = after; !ok {
			return 0, i, false
		}
		exponent += e
	}
	// Clinger's fast path: both factors are exact, so the one rounding is right.
	if n <= 15 && exponent >= -22 && exponent <= 22 {
		if v = float64(digits); exponent < 0 {
			v /= powers[-exponent]
		} else {
			v *= powers[exponent]
		}
		if negative {
			v = -v
		}
		return v, i, true
	}
	v, _ = strconv.ParseFloat(string(b[start:i]), 64) // the grammar is right: only a range error, with an infinity
	return v, i, true
}

func parseExponent(b []byte, i int) (e, end int, ok bool) {
	negative := false
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		negative = b[i] == '-'
		i++
	}
	first := i
	for ; i < len(b) && isDigit(b[i]); i++ {
		e = min(e*10+int(b[i]-'0'), 1<<20)
	}
	if negative {
		e = -e
	}
	return e, i, i > first
}

// parseText reads a number as people and small devices write it: blanks around
// it, a plus sign, zeros in front, a point at either end, true and false as 1 and
// 0. NaN and infinities are numbers, though not finite ones.
func parseText(b []byte) (v float64, ok bool) {
	b = bytes.TrimSpace(b)
	if v, end, ok := parseNumber(b, 0); ok && end == len(b) {
		return v, true
	}
	if len(b) == 0 || len(b) > 64 {
		return 0, false
	}
	switch {
	case bytes.EqualFold(b, []byte("true")):
		return 1, true
	case bytes.EqualFold(b, []byte("false")):
		return 0, true
	}
	unsigned := bytes.TrimLeft(b, "+-")
	if len(b)-len(unsigned) > 1 {
		return 0, false
	}
	for _, c := range []string{"nan", "inf", "infinity"} {
		if bytes.EqualFold(unsigned, []byte(c)) {
			return math.NaN(), true
		}
	}
	for _, c := range b { // no hexadecimals, no underscores
		if !isDigit(c) && c != '.' && c|0x20 != 'e' && c != '+' && c != '-' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil || math.IsInf(v, 0)
}
