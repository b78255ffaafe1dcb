package config

import (
	"fmt"
	"strings"
)

// Nearest is the candidate that was probably meant by word, or "" when none is
// near: at most a third of the letters differ (optimal string alignment: a
// letter more, less, other, or two swapped), or one only begins the other.
func Nearest(word string, candidates []string) string {
	best, least := "", max(1, len(word)/3)+1
	low := strings.ToLower(word)
	for _, c := range candidates {
		if d := distance(low, strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	for _, c := range candidates {
		if best == "" && min(len(c), len(low)) > 2 && (strings.HasPrefix(strings.ToLower(c), low) || strings.HasPrefix(low, strings.ToLower(c))) {
			best = c
		}
	}
	return best
}

// didYouMean is the cure for an unknown word: the nearest of the candidates, or
// all of them when they are few.
func didYouMean(word string, candidates []string) string {
	if near := Nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(candidates) == 0 || len(candidates) > 16 {
		return ""
	}
	return "one of " + strings.Join(candidates, ", ")
}

const longestWord = 128 // letters; longer ones are no misspelling

// distance is how many letters to insert, delete, replace or swap.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > longestWord || len(t) > longestWord {
		return longestWord
	}
	var rows [3][longestWord + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(t) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
