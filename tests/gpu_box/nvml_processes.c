/* Who is on a device, and what the driver's accounting remembers of those that were. */
#include "nvml.h"

#include <string.h>

struct process { uint pid; ull memory; uint gpu_instance, compute_instance; };
/* What the drivers 535.43 to 535.86 wrote where every caller expects the one above. */
struct wide_process { struct process process; ull protected_memory; };

static struct process read_process(int gpu, const char *kind, uint i)
{
	return (struct process){
		(uint)state_number(state_get("gpus.%d.%s.%u.pid", gpu, kind, i), 0),
		state_number(state_get("gpus.%d.%s.%u.memory", gpu, kind, i), NOT_TOLD),
		(uint)state_number(state_get("gpus.%d.%s.%u.gi", gpu, kind, i), ~0u),
		(uint)state_number(state_get("gpus.%d.%s.%u.ci", gpu, kind, i), ~0u),
	};
}

static int is_on(struct device *device, const struct process *process)
{
	if (device->slice < 0) return 1;
	return process->gpu_instance == (uint)state_number(of(device, "gi"), 0) && process->compute_instance == (uint)state_number(of(device, "ci"), 0);
}

static answer list(const char *symbol, struct device *device, const char *kind, uint *count, void *to, size_t size)
{
	answer failed = begin_device(symbol, device);
	if (failed) return end(failed);
	uint room = *count, found = 0, all = state_count("gpus.%d.%s", device->gpu, kind);
	for (uint i = 0; i < all; i++) {
		struct process process = read_process(device->gpu, kind, i);
		if (!is_on(device, &process)) continue;
		if (to && found < room) memcpy((char *)to + found * size, &process, sizeof process);
		found++;
	}
	*count = found;
	return end(found > room ? INSUFFICIENT_SIZE : OK);
}

#define LIST(symbol, kind, type) \
	answer symbol(struct device *device, uint *count, void *to) { return list(#symbol, device, kind, count, to, sizeof(type)); }

LIST(nvmlDeviceGetComputeRunningProcesses_v2, "processes", struct process)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics", struct process)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, "mps", struct process)
#if defined(WIDE_PROCESSES)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, "processes", struct wide_process)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", struct wide_process)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps", struct wide_process)
#elif !defined(OLD_DRIVER)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, "processes", struct process)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", struct process)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps", struct process)
#endif

struct sample { uint pid; ull time_us; uint sm, memory, encoder, decoder; };

answer nvmlDeviceGetProcessUtilization(struct device *device, struct sample *to, uint *count, ull since_us)
{
	DEVICE_CALL(nvmlDeviceGetProcessUtilization, device);
	uint all = state_count("gpus.%d.processes", device->gpu);
	if (!all) return end(NOT_FOUND);
	if (!to || *count < all) { *count = all; return end(INSUFFICIENT_SIZE); }
	for (uint i = 0; i < all; i++)
		to[i] = (struct sample){
			(uint)state_number(state_get("gpus.%d.processes.%u.pid", device->gpu, i), 0), since_us + 1,
			(uint)state_number(state_get("gpus.%d.processes.%u.sm", device->gpu, i), 0), 0, 0, 0,
		};
	*count = all;
	return end(OK);
}

/* ---- accounting ---- */

struct account { uint gpu, memory; ull most_memory, time_ms, start_us; uint running, reserved[5]; };

NUMBER_OF(nvmlDeviceGetAccountingMode, uint, "accounting_mode")
answer nvmlDeviceGetAccountingBufferSize(struct device *device, uint *to) { DEVICE_CALL(nvmlDeviceGetAccountingBufferSize, device); *to = 4000; return end(OK); }

answer nvmlDeviceGetAccountingPids(struct device *device, uint *count, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetAccountingPids, device);
	uint room = *count, all = *count = state_count("gpus.%d.accounting", device->gpu);
	if (room < all) return end(INSUFFICIENT_SIZE);
	for (uint i = 0; i < all; i++) to[i] = (uint)state_number(state_get("gpus.%d.accounting.%u.pid", device->gpu, i), 0);
	return end(OK);
}

answer nvmlDeviceGetAccountingStats(struct device *device, uint pid, struct account *to)
{
	DEVICE_CALL(nvmlDeviceGetAccountingStats, device);
	uint all = state_count("gpus.%d.accounting", device->gpu);
	for (uint i = 0; i < all; i++) {
		if (state_number(state_get("gpus.%d.accounting.%u.pid", device->gpu, i), 0) != pid) continue;
		*to = (struct account){
			.gpu = (uint)state_number(state_get("gpus.%d.accounting.%u.gpu", device->gpu, i), 0),
			.most_memory = state_number(state_get("gpus.%d.accounting.%u.max_memory", device->gpu, i), 0),
			.time_ms = state_number(state_get("gpus.%d.accounting.%u.time_ms", device->gpu, i), 0),
			.running = (uint)state_number(state_get("gpus.%d.accounting.%u.running", device->gpu, i), 0),
		};
		return end(OK);
	}
	return end(NOT_FOUND);
}
