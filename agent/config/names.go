package config

import "strings"

// MachineOf is the machine that a channel belongs to: the part of its name
// before the last dot, empty where there is none.
func MachineOf(channel string) string {
	if i := strings.LastIndexByte(channel, '.'); i > 0 {
		return channel[:i]
	}
	return ""
}

// Dynamic reports whether the row's channels are found only when messages come.
func (t Topic) Dynamic() bool { return strings.Contains(t.Channel, "{") }
