package mqtt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scope is what rows read out of one JSON value: the whole payload, or each
// element of an array. It is compiled once for all rows that a message is for, so
// that the message is scanned once.
type scope struct {
	root  node
	rows  []want
	inner []*scope // those for the elements of arrays within
	found bool     // of an inner scope: its array was there
	seen  uint64   // counts the values scanned, so that nodes need no clearing
}

// node is a place that some row's pointer leads to or through.
type node struct {
	children []child
	numbers  []int  // rows whose number or array of numbers is here
	times    []int  // rows whose time is here
	each     *scope // for the elements of the array that is here
	seen     uint64 // the scope's count when a value was here last
}

type child struct {
	key   string
	index int // key as an array's index, or -1
	node  *node
}

// want is one row of a scope and what the scanned value has said of it so far.
type want struct {
	row      *row
	target   int // index into the route's channels
	from, to int // its numbers, in the decoder
	found    bool
	at       int64 // its time; valid when timed
	timed    bool
}

// parsePointer splits a JSON Pointer (RFC 6901, section 3).
func parsePointer(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != '/' {
		return nil, errors.New("it must begin with /")
	}
	if i := strings.Count(s, "/"); i > mostNesting {
		return nil, fmt.Errorf("it is deeper than %d levels", mostNesting)
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		for rest := t; ; {
			_, after, tilde := strings.Cut(rest, "~")
			if !tilde {
				break
			}
			if !strings.HasPrefix(after, "0") && !strings.HasPrefix(after, "1") {
				return nil, errors.New("~ is written ~0, and / within a key ~1")
			}
			rest = after
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
		if len(tokens[i]) > mostKeyBytes {
			return nil, fmt.Errorf("a key is longer than %d bytes", mostKeyBytes)
		}
	}
	return tokens, nil
}

// pointer writes the tokens as a person knows them, without escapes.
func pointer(tokens []string) string {
	if len(tokens) == 0 {
		return "the top"
	}
	return "/" + strings.Join(tokens, "/")
}

// add compiles one row, whose samples go to the route's channel number target.
func (s *scope) add(r *row, target int) {
	if r.each != nil {
		n := s.root.descend(*r.each)
		if n.each == nil {
			n.each = &scope{}
			s.inner = append(s.inner, n.each)
		}
		s = n.each
	}
	i := len(s.rows)
	s.rows = append(s.rows, want{row: r, target: target})
	n := s.root.descend(r.pointer)
	n.numbers = append(n.numbers, i)
	if r.time != nil {
		n = s.root.descend(*r.time)
		n.times = append(n.times, i)
	}
}

// begin forgets what the value before has said.
func (s *scope) begin() {
	s.seen++
	for i := range s.rows {
		s.rows[i].found, s.rows[i].timed = false, false
	}
	for _, e := range s.inner {
		e.found = false
	}
}

func (n *node) descend(tokens []string) *node {
	for _, t := range tokens {
		n = n.child(t)
	}
	return n
}

func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.key == key {
			return c.node
		}
	}
	index, err := strconv.Atoi(key)
	if err != nil || index < 0 || strconv.Itoa(index) != key { // no leading zeros, section 4
		index = -1
	}
	c := child{key, index, &node{}}
	n.children = append(n.children, c)
	return c.node
}

// member is the child of that key, or nil; index that of that index.
func (n *node) member(key []byte) *node {
	for i := range n.children {
		if string(key) == n.children[i].key {
			return n.children[i].node
		}
	}
	return nil
}

func (n *node) element(index int) *node {
	for i := range n.children {
		if n.children[i].index == index {
			return n.children[i].node
		}
	}
	return nil
}
