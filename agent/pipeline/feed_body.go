package pipeline

import (
	_ "embed"
	"math"
	"strconv"
	"time"

	"tocsin/agent/alarms"
)

//go:embed scores.schema.json
var scoresSchema []byte

//go:embed samples.schema.json
var samplesSchema []byte

// ScoresSchema is the JSON Schema (draft 2020-12) of the body of a message on
// the topic for scores.
func ScoresSchema() []byte { return scoresSchema }

// SamplesSchema is that of the topic for aggregated readings.
func SamplesSchema() []byte { return samplesSchema }

// Bodies are written by hand: rows are many and all alike. Tests hold them to
// their schemas.

// Digits that matter: a reading is told as it was read, what was computed of
// many with nine digits, a score with five.
const (
	asRead   = -1
	computed = 9
	scored   = 5
)

func appendSamples(to []byte, r *row[samples]) []byte {
	s := &r.window
	to = append(to, r.member.head...)
	to = strconv.AppendUint(append(to, `,"count":`...), uint64(s.count), 10)
	if s.count > 0 {
		to = appendFloat(append(to, `,"min":`...), s.min, asRead)
		to = appendFloat(append(to, `,"max":`...), s.max, asRead)
		to = appendFloat(append(to, `,"mean":`...), s.mean, computed)
		to = appendFloat(append(to, `,"deviation":`...), s.deviation(), computed)
		to = appendFloat(append(to, `,"first":`...), s.first, asRead)
		to = appendFloat(append(to, `,"last":`...), s.last, asRead)
		to = time.Unix(0, s.at).UTC().AppendFormat(append(to, `,"time":"`...), time.RFC3339Nano)
		to = append(to, '"')
	}
	to = appendCount(to, `,"out_of_range":`, s.outside)
	to = appendCount(to, `,"late":`, r.late)
	return append(to, '}')
}

func appendScores(to []byte, r *row[scores]) []byte {
	s := &r.window
	to = append(to, r.member.head...)
	to = strconv.AppendUint(append(to, `,"count":`...), uint64(s.count), 10)
	for class := range alarms.Classes {
		p := &s.classes[class]
		if p.count == 0 {
			continue
		}
		to = append(append(append(to, `,"`...), class.String()...), `":{"score":`...)
		to = appendFloat(to, p.highest, scored)
		to = append(append(append(to, `,"detector":"`...), r.member.names[p.detector]...), `","mean":`...)
		to = appendFloat(to, p.sum/float64(p.count), scored)
		to = appendFloat(append(to, `,"low":`...), p.low, computed)
		to = appendFloat(append(to, `,"high":`...), p.high, computed)
		to = appendCount(to, `,"over":`, p.over)
		if p.alarm {
			to = append(to, `,"alarm":true`...)
		}
		to = append(to, '}')
	}
	if s.learning {
		to = append(to, `,"learning":true`...)
	}
	to = appendCount(to, `,"late":`, r.late)
	return append(to, '}')
}

// appendCount leaves out what did not happen.
func appendCount(to []byte, key string, n uint32) []byte {
	if n == 0 {
		return to
	}
	return strconv.AppendUint(append(to, key...), uint64(n), 10)
}

// appendFloat writes null for what JSON has no number for.
func appendFloat(to []byte, v float64, digits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(to, "null"...)
	}
	return strconv.AppendFloat(to, v, 'g', digits, 64)
}

// messageID is ce_id: the same however often a message is sent.
func messageID(device, instance, stream string, seq uint64) string {
	return device + "." + instance + "." + stream + "." + strconv.FormatUint(seq, 10)
}
