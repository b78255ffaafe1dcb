package ewma_test

import (
	"testing"

	"tocsin/detectors/detectortest"
	"tocsin/detectors/ewma"
)

func TestContract(t *testing.T) { detectortest.RunLearned(t, ewma.New) }
