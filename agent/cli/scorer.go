package cli

import (
	"math"

	"tocsin/agent/config"
	"tocsin/detectors"
)

// rest is how many rows an alarm of a file that was not trained on keeps the
// next from beginning: what is found meanwhile belongs to it.
const rest = 90

// beneath is the score of a row that is as anomalous as one that begins an
// alarm, and begins none.
const beneath = 0.499

// scorer is the detectors of all channels of one machine.
type scorer struct {
	channels  []scored
	trainRows int
	rows      int
	anomalous bool // the row before was
	began     int  // row that began the newest alarm; 0 before the first
}

type scored struct {
	name      string
	column    int
	detectors []detectors.Detector
}

func newScorer(cfg *config.Config, columns []string, o scoring) *scorer {
	s := &scorer{trainRows: o.trainRows}
	for i, name := range columns {
		if !o.wants(name) {
			continue
		}
		ch := scored{name: name, column: i}
		w := watchRows(cfg, name, o.trainRows)
		for _, d := range w.Detectors {
			// A sensor's own fault is no anomaly of the machine.
			if d.Traits().Status == detectors.Normal {
				ch.detectors = append(ch.detectors, d)
			}
		}
		s.channels = append(s.channels, ch)
	}
	return s
}

// judge is the worst of all channels. While the known rows last nothing is found.
func (s *scorer) judge(t int64, raw string, values []float64) row {
	r := row{Time: raw}
	for _, ch := range s.channels {
		if math.IsNaN(values[ch.column]) {
			continue // a column of text
		}
		if r.Top == "" {
			r.Top = ch.name
		}
		w := detectors.Window{Time: t, Arrived: t, Value: values[ch.column]}
		for _, d := range ch.detectors {
			v := d.Judge(w)
			if v.Score > r.Score {
				r.Score, r.Top = v.Score, ch.name
			}
			r.Change = r.Change || v.Change
		}
	}
	if s.learned() {
		r.Score, r.Change = 0, false
	}
	s.alarm(&r)
	return r
}

// learned counts a row and reports whether it is one of those that are known to
// be normal. With the last of them learning ends.
func (s *scorer) learned() bool {
	s.rows++
	if s.rows == s.trainRows {
		s.freeze()
	}
	return s.rows <= s.trainRows
}

// alarm decides between a row that begins an alarm, whose score reaches the
// line, and one in which it goes on. Where normal rows were learned every
// anomalous row reaches the line: what is normal does not move there.
func (s *scorer) alarm(r *row) {
	r.Anomaly = r.Score >= detectors.Line
	if r.Anomaly && s.trainRows == 0 {
		if s.anomalous || s.began > 0 && s.rows-s.began < rest {
			r.Score = beneath
		} else {
			s.began = s.rows
		}
	}
	s.anomalous = r.Anomaly
}

func (s *scorer) freeze() {
	for _, ch := range s.channels {
		for _, d := range ch.detectors {
			if l, ok := d.(detectors.Learner); ok {
				l.Freeze()
			}
		}
	}
}
