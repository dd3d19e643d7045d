package gpu

import (
	"os"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// others are the processes besides this one that were at work on the GPU during
// the window, and the mean share of the time that they kept it at work: the sum
// over them. The share is nil when the driver does not account for processes,
// as on old GPUs and in some virtual machines.
//
// In a container the driver counts processes as the host does, so that this one
// cannot find itself. It is then taken for the busiest: it has been timing all
// the while.
func (x *watch) others() (count int, utilization *float64) {
	samples, err := call(x.board.line, "nvmlDeviceGetProcessUtilization", func() ([]nvml.ProcessUtilizationSample, nvml.Return) {
		s, ret := x.board.handle.GetProcessUtilization(uint64(x.begun.UnixMicro()))
		if ret == nvml.ERROR_NOT_FOUND { // nobody was at work
			return nil, nvml.SUCCESS
		}
		return s, ret
	})
	if err != nil {
		x.note(err)
		return 0, nil
	}
	sums, counts := map[uint32]float64{}, map[uint32]int{}
	most := 0
	for _, s := range samples {
		if s.Pid == 0 || s.TimeStamp < uint64(x.begun.UnixMicro()) {
			continue // an entry that was not filled, or is from before
		}
		sums[s.Pid] += float64(s.SmUtil) * percent
		counts[s.Pid]++
		most = max(most, counts[s.Pid])
	}
	own := uint32(os.Getpid())
	if _, ok := sums[own]; !ok {
		for pid, sum := range sums {
			if best, found := sums[own]; !found || sum > best || sum == best && pid < own {
				own = pid
			}
		}
	}
	total := 0.0
	for pid, sum := range sums {
		if pid != own && sum > 0 {
			count++
			total += sum / float64(most)
		}
	}
	total = min(total, 1)
	return count, &total
}
