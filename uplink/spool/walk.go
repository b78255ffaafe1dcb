package spool

import (
	"context"
	"fmt"

	"tocsin/detectors"
	"tocsin/uplink"
)

// Walk calls fn with every record that the buffer holds and where it is: "queued
// high", "in flight to events/0", "dead: too large". What is queued comes the
// gravest first, the dead last. The record is fn's. Other calls go on between
// two blocks, so what moves meanwhile may be met twice or not at all. An error of
// fn ends the walk and is returned.
func (s *Spool) Walk(fn func(r uplink.Record, where string) error) error {
	for _, severity := range severities() {
		for from := uint64(0); ; {
			found, next, err := s.look(severity, from)
			if err != nil {
				return err
			}
			for _, f := range found {
				if err := fn(f.Record, f.where); err != nil {
					return err
				}
			}
			if next <= from {
				break
			}
			from = next
		}
	}
	return s.walkDead(fn)
}

type found struct {
	uplink.Record
	where string
}

// look reads the blocks of a severity that share the next first sequence from
// from on, and says where to look next; 0 is nowhere.
func (s *Spool) look(severity detectors.Severity, from uint64) (all []found, next uint64, err error) {
	if err := s.enter(context.Background()); err != nil {
		return nil, 0, err
	}
	defer s.leave()
	if err := s.refresh(); err != nil {
		return nil, 0, err
	}
	err = s.view(func(t *txn) error {
		blocks := t.stream(severity, from, t.files...)
		var at uint64
		for {
			f, err := blocks.peek()
			if f == nil {
				next = 0
				return err
			}
			if next = f.at; at > 0 && next != at {
				return nil
			}
			at = f.at
			b, err := blocks.next()
			if err != nil {
				return err
			}
			if err := t.withBodies(b); err != nil {
				return err
			}
			for i := range b.metas {
				if t.live(b, i) {
					all = append(all, found{b.record(i), s.where(b, i)})
				}
			}
		}
	})
	return all, next, err
}

func (s *Spool) where(b *block, i int) string {
	seq := b.metas[i].seq
	if _, flying := s.flying[seq]; flying {
		for id, f := range s.flights {
			for _, m := range f.members {
				if m.seq == seq {
					return "in flight to " + id.key()
				}
			}
		}
	}
	return "queued " + b.severity.String()
}

func (s *Spool) walkDead(fn func(r uplink.Record, where string) error) error {
	var dead []found
	if err := s.enter(context.Background()); err != nil {
		return err
	}
	err := s.refresh()
	s.closeIdle()
	if err == nil {
		err = s.view(func(t *txn) error {
			return t.each(bucketDead, func(key, raw []byte) error {
				seq, err := numberOf(key)
				if err != nil {
					return err
				}
				why, r, err := exhume(seq, raw)
				dead = append(dead, found{r, fmt.Sprintf("dead: %s", why)})
				return err
			})
		})
	}
	s.leave()
	for _, d := range dead {
		if err == nil {
			err = fn(d.Record, d.where)
		}
	}
	return err
}
