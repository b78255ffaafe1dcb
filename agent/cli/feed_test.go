package cli

import "testing"

// A reload that changes what is fed to the centre touches nothing else.
func TestReloadFeed(t *testing.T) {
	const pump, scores, samples = "[simulate.pump]\ninterval = \"10ms\"\n", "[uplink.scores]\nevery = \"1s\"\n", "[uplink.samples]\nchannels = [\"pump1.*\"]\n"
	s := newGateway(t, pump+scores)
	street := s.a.now().street
	for _, step := range []struct {
		file, want string
		streams    int
	}{
		{pump + scores + samples, "[uplink.scores]: a new window begins; the one before is sent as far as it went\n[uplink.samples]: sent from now on\n", 2},
		{pump + samples, "[uplink.scores]: not sent any more\n[uplink.samples]: a new window begins; the one before is sent as far as it went\n", 1},
		{pump, "[uplink.samples]: not sent any more\n", 0},
		{pump + scores, "[uplink.scores]: sent from now on\n", 1},
	} {
		if got := s.reload(step.file); got != step.want {
			t.Errorf("got  %s\nwant %s", got, step.want)
		}
		if n := len(street.Feeding()); n != step.streams {
			t.Errorf("%d streams, want %d", n, step.streams)
		}
	}
	s.until("windows close", func() bool { return street.Feeding()["scores"].Made > 0 })
	if now := s.a.now().street; now != street || s.source("simulate.pump").Status().Runs != 1 {
		t.Error("more was restarted than the feed")
	}
}
