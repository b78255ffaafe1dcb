package mad_test

import (
	"testing"

	"tocsin/detectors/detectortest"
	"tocsin/detectors/mad"
)

func TestContract(t *testing.T) { detectortest.RunLearned(t, mad.New) }
