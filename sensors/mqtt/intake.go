package mqtt

import "tocsin/sensors"

// handle takes one message, on the goroutine that reads the connection. It never
// waits.
func (s *Source) handle(m message) {
	if m.qos > 0 && !s.taking.Load() {
		return // not acknowledged: the broker sends it again
	}
	rt := s.route(&m)
	d := s.decoder
	switch {
	case m.tooLarge:
		n := 1
		if rt != nil {
			n = max(1, rt.scanned+len(rt.numbers)+len(rt.liners))
		}
		s.refuse(sensors.TooLarge, n, rt, &m)
		rt = nil
	case rt == nil:
		if !s.stray {
			s.stray = true
			s.log.Info("a message that no row reads: an overlapping subscription, or one of an earlier configuration that the broker still keeps", "topic", string(m.topic))
		}
	default:
		d.decode(rt, m.payload, m.at)
		for reason, n := range d.refused {
			if n > 0 {
				s.refuse(sensors.Reason(reason), n, rt, &m)
			}
		}
	}
	var samples []sensors.Sample
	if rt != nil {
		samples = d.samples
	}
	if m.retained {
		for i := range samples { // of unknown age
			samples[i].Quality |= sensors.UncertainLastUsableValue
		}
	}
	s.offer(&m, samples)
}

// route is nil for a topic that no row reads. One over its bounds is too large.
func (s *Source) route(m *message) *route {
	levels := 1
	for _, c := range m.topic {
		if c == '/' {
			levels++
		}
	}
	if len(m.topic) == 0 || levels > mostTopicLevels {
		m.tooLarge = true
		return nil
	}
	return s.routes.of(m.topic)
}

// offer hands the samples on: at QoS 0 the oldest make room, else the newest wait.
func (s *Source) offer(m *message, samples []sensors.Sample) {
	if m.qos > 0 {
		mark := s.acks.add(m.qos, m.id, len(samples))
		if len(samples) > 0 && !s.backlog.offer(s.out, mark, samples) {
			s.taking.Store(false)
		}
		return
	}
	for most := s.out.Most(); len(samples) > 0; {
		n := min(len(samples), most)
		if !s.out.Offer(0, samples[:n]...) && !(s.out.DropOldest() && s.out.Offer(0, samples[:n]...)) {
			s.out.Refuse(sensors.QueueFull, n)
		}
		samples = samples[n:]
	}
}

// dry is called when all that has arrived was handled: nothing is gained by
// keeping it for company, which the inlet has gathered already.
func (s *Source) dry() { s.out.Flush() }
