package cli

import (
	"math"
	"time"

	"tocsin/agent/config"
	"tocsin/agent/pipeline"
	"tocsin/detectors"
	"tocsin/detectors/cusum"
	"tocsin/detectors/ewma"
	"tocsin/detectors/mad"
	"tocsin/detectors/rate"
	"tocsin/detectors/silence"
	"tocsin/detectors/stuck"
	"tocsin/detectors/threshold"
	"tocsin/sensors"
)

// falseAlarmRows is the other bound on false alarms: channels read once an hour
// would otherwise never be allowed one.
const falseAlarmRows = 20000

// method is one row of the table of detectors: how the configuration calls it
// and how it is made for a channel, with all that its verdicts depend on, to be
// compared with ==. A nil detector says that the channel gives it nothing to do.
type method struct {
	name string
	make func(p plan) (d detectors.Detector, settings any)
}

// plan is what the configuration says about judging one channel.
type plan struct {
	sensor   config.Channel
	limit    *config.Limit
	learn    detectors.Learning
	chosen   config.Detectors
	severity detectors.Severity // of what learned detectors find
}

func methods() []method {
	return []method{
		{"range", func(p plan) (detectors.Detector, any) {
			if low, high := p.physical(); !math.IsInf(low, 0) || !math.IsInf(high, 0) {
				return threshold.NewRange(low, high), [2]float64{low, high}
			}
			return nil, nil
		}},
		{"limit", func(p plan) (detectors.Detector, any) {
			if p.limit == nil {
				return nil, nil
			}
			l := limits(*p.limit)
			return threshold.New(l), l
		}},
		{"ewma", func(p plan) (detectors.Detector, any) { return ewma.New(p.learn), p.learn }},
		{"robust_z", func(p plan) (detectors.Detector, any) { return mad.New(p.learn), p.learn }},
		{"cusum", func(p plan) (detectors.Detector, any) { return cusum.New(p.learn), p.learn }},
		{"rate", func(p plan) (detectors.Detector, any) {
			fastest := or(p.sensor.MaxRate, 0)
			return rate.New(p.learn, fastest), [2]any{p.learn, fastest}
		}},
		{"stuck", func(p plan) (detectors.Detector, any) {
			after := time.Duration(p.sensor.StuckAfter)
			return stuck.New(after, p.learn), [2]any{p.learn, after}
		}},
		{"silence", func(p plan) (detectors.Detector, any) {
			after := time.Duration(p.sensor.SilentAfter)
			return silence.New(after), after
		}},
	}
}

// planOf finds what the configuration says about judging a channel.
func planOf(cfg *config.Config, c sensors.Channel) plan {
	severity := cfg.Machine[config.MachineOf(c.Name)].Severity
	p := plan{sensor: cfg.Channel[c.Name], learn: learning(cfg.Detect), chosen: cfg.DetectorsOf(c.Name),
		severity: config.SeverityOr(severity, detectors.None)}
	if l, ok := cfg.Limit[c.Name]; ok {
		p.limit = &l
	}
	return p
}

// watch makes the detectors of one channel.
func watch(cfg *config.Config, c sensors.Channel) pipeline.Watch {
	p := planOf(cfg, c)
	w := pipeline.Watch{Channel: describe(cfg, c), Severity: p.severity}
	w.Low, w.High = p.physical()
	for _, m := range methods() {
		if !p.chosen.Has(m.name) {
			continue
		}
		if d, settings := m.make(p); d != nil {
			w.Detectors, w.Settings = append(w.Detectors, d), append(w.Settings, settings)
		}
	}
	return w
}

// watchRows makes the detectors of one column of a file. Files have rows where
// sites have time, so false alarms are bounded by rows alone, and what is known
// to be normal is all there is to learn from.
func watchRows(cfg *config.Config, column string, trainRows int) pipeline.Watch {
	rows := *cfg
	if trainRows > 0 {
		rows.Detect.Learn = min(rows.Detect.Learn, trainRows)
	}
	rows.Detect.FalseAlarms = ""
	return watch(&rows, sensors.Channel{Name: column})
}

// learning shares the false alarms that one channel may raise among its four
// learned detectors.
func learning(d config.Detect) detectors.Learning {
	const learned = 4
	return detectors.Learning{Ready: d.Learn, FalseAlarmRows: learned * falseAlarmRows, FalseAlarmEvery: learned * d.FalseAlarmEvery()}
}

func (p plan) physical() (low, high float64) {
	return or(p.sensor.RangeLow, math.Inf(-1)), or(p.sensor.RangeHigh, math.Inf(1))
}

func limits(l config.Limit) threshold.Limits {
	return threshold.Limits{
		HighHigh: or(l.HighHigh, math.Inf(1)), High: or(l.High, math.Inf(1)), Low: or(l.Low, math.Inf(-1)), LowLow: or(l.LowLow, math.Inf(-1)),
		Hysteresis: l.Hysteresis, OnDelay: time.Duration(l.OnDelay), OffDelay: time.Duration(l.OffDelay),
		Severity: config.SeverityOr(l.Severity, detectors.None),
	}
}

func or(v *float64, otherwise float64) float64 {
	if v == nil {
		return otherwise
	}
	return *v
}
