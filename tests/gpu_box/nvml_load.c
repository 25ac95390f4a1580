/* What a device does now: memory, use, power, clocks, traffic. */
#define _GNU_SOURCE
#include "nvml.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- memory ---- */

struct memory { ull total, free, used; };
struct memory_v2 { uint version; ull total, reserved, free, used; };

/* The first version counts the driver's own reserve as used. */
answer nvmlDeviceGetMemoryInfo(struct device *device, struct memory *to)
{
	DEVICE_CALL(nvmlDeviceGetMemoryInfo, device);
	to->total = state_number(of(device, "memory_total"), 0);
	to->used = state_number(of(device, "memory_used"), 0) + state_number(of(device, "memory_reserved"), 0);
	to->free = to->total - to->used;
	return end(OK);
}

#ifndef OLD_DRIVER
answer nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *to)
{
	DEVICE_CALL(nvmlDeviceGetMemoryInfo_v2, device);
	if (to->version != (sizeof *to | 2u << 24)) return end(ARGUMENT_VERSION_MISMATCH);
	to->total = state_number(of(device, "memory_total"), 0);
	to->reserved = state_number(of(device, "memory_reserved"), 0);
	to->used = state_number(of(device, "memory_used"), 0);
	to->free = to->total - to->reserved - to->used;
	return end(OK);
}
#endif

answer nvmlDeviceGetBAR1MemoryInfo(struct device *device, struct memory *to)
{
	DEVICE_CALL(nvmlDeviceGetBAR1MemoryInfo, device);
	to->total = to->free = state_number(of(device, "bar1_total"), 1ull << 37);
	to->used = 0;
	return end(OK);
}

/* ---- use, power, temperature, clocks ---- */

struct use { uint gpu, memory; };

answer nvmlDeviceGetUtilizationRates(struct device *device, struct use *to)
{
	DEVICE_CALL(nvmlDeviceGetUtilizationRates, device);
	if (state_number(state_get("gpus.%d.mig_mode", device->gpu), 0)) return end(NOT_SUPPORTED);
	to->gpu = (uint)state_number(of(device, "util_gpu"), 0);
	to->memory = (uint)state_number(of(device, "util_mem"), 0);
	return end(OK);
}

NUMBER_OF(nvmlDeviceGetPowerUsage, uint, "power_mw")
NUMBER_OF(nvmlDeviceGetEnforcedPowerLimit, uint, "power_limit_mw")
NUMBER_OF(nvmlDeviceGetPowerManagementLimit, uint, "power_limit_mw")

/* `energy_mj`; it grows with `power_mw` where `energy_grows` is set. */
answer nvmlDeviceGetTotalEnergyConsumption(struct device *device, ull *to)
{
	DEVICE_CALL(nvmlDeviceGetTotalEnergyConsumption, device);
	const char *energy = of(device, "energy_mj");
	if (!energy) return end(NOT_SUPPORTED);
	*to = state_number(energy, 0);
	if (state_number(of(device, "energy_grows"), 0)) {
		struct timespec now;
		clock_gettime(CLOCK_MONOTONIC, &now);
		double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
		*to += (ull)(seconds * (double)state_number(of(device, "power_mw"), 0));
	}
	return end(OK);
}

answer nvmlDeviceGetTemperature(struct device *device, uint sensor, uint *to)
{
	(void)sensor;
	DEVICE_CALL(nvmlDeviceGetTemperature, device);
	*to = (uint)state_number(of(device, "temperature"), 30);
	return end(OK);
}

#ifndef OLD_DRIVER
struct temperature { uint version, sensor; int degrees; };

answer nvmlDeviceGetTemperatureV(struct device *device, struct temperature *to)
{
	DEVICE_CALL(nvmlDeviceGetTemperatureV, device);
	if (to->version != (sizeof *to | 1u << 24)) return end(ARGUMENT_VERSION_MISMATCH);
	to->degrees = (int)state_number(of(device, "temperature"), 30);
	return end(OK);
}
NUMBER_OF(nvmlDeviceGetCurrentClocksEventReasons, ull, "clocks_event_reasons")
#endif

answer nvmlDeviceGetTemperatureThreshold(struct device *device, uint kind, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetTemperatureThreshold, device);
	*to = kind == 0 ? 92 : 87;      /* shutdown, else slowdown */
	return end(OK);
}

static answer clock_of(const char *symbol, struct device *device, uint kind, uint *to)
{
	static const char *const fields[] = {"clock_graphics", "clock_sm", "clock_memory", "clock_video"};
	answer failed = begin_device(symbol, device);
	if (failed) return end(failed);
	if (kind > 3) return end(INVALID_ARGUMENT);
	*to = (uint)state_number(of(device, fields[kind]), kind == 2 ? 2619 : 1980);
	return end(OK);
}

answer nvmlDeviceGetClockInfo(struct device *device, uint kind, uint *to) { return clock_of("nvmlDeviceGetClockInfo", device, kind, to); }
answer nvmlDeviceGetMaxClockInfo(struct device *device, uint kind, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetMaxClockInfo, device);
	*to = kind == 2 ? 2619 : 1980;
	return end(OK);
}
NUMBER_OF(nvmlDeviceGetPerformanceState, uint, "pstate")
NUMBER_OF(nvmlDeviceGetPowerState, uint, "pstate")
NUMBER_OF(nvmlDeviceGetCurrentClocksThrottleReasons, ull, "clocks_event_reasons")

/* ---- traffic and fields ---- */

answer nvmlDeviceGetPcieThroughput(struct device *device, uint counter, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetPcieThroughput, device);
	const char *value = of(device, counter == 0 ? "pcie_tx_kib" : "pcie_rx_kib");
	if (!value) return end(NOT_SUPPORTED);
	*to = (uint)state_number(value, 0);
	return end(OK);
}

NUMBER_OF(nvmlDeviceGetPcieReplayCounter, uint, "pcie_replays")
NUMBER_OF(nvmlDeviceGetCurrPcieLinkGeneration, uint, "pcie_gen")
NUMBER_OF(nvmlDeviceGetMaxPcieLinkGeneration, uint, "pcie_gen_max")
NUMBER_OF(nvmlDeviceGetCurrPcieLinkWidth, uint, "pcie_width")
NUMBER_OF(nvmlDeviceGetMaxPcieLinkWidth, uint, "pcie_width_max")

struct field { uint id, scope; long long time_us, latency_us; uint type; answer code; ull value; };

answer nvmlDeviceGetFieldValues(struct device *device, int count, struct field *fields)
{
	DEVICE_CALL(nvmlDeviceGetFieldValues, device);
	for (int i = 0; i < count; i++) {
		const char *value = state_get("gpus.%d.fields.%u", device->gpu, fields[i].id);
		if (!value) value = state_get("defaults.fields.%u", fields[i].id);
		fields[i].code = value ? OK : NOT_SUPPORTED;
		fields[i].type = 3;      /* unsigned long long */
		fields[i].value = state_number(value, 0);
		fields[i].time_us = (long long)time(NULL) * 1000000;
	}
	return end(OK);
}

/* ---- GPM: the only use that a MIG slice tells ---- */

struct gpm_support { uint version, supported; };
struct gpm_sample { int gpu, gpu_instance; };
struct gpm_metric { uint id; answer code; double value; const char *names[3]; };
struct gpm_question { uint version, count; struct gpm_sample *first, *second; struct gpm_metric metrics[]; };

answer nvmlGpmQueryDeviceSupport(struct device *device, struct gpm_support *to)
{
	DEVICE_CALL(nvmlGpmQueryDeviceSupport, device);
	to->supported = state_count("gpus.%d.gpm", device->gpu) || state_count("defaults.gpm");
	return end(OK);
}

answer nvmlGpmSampleAlloc(struct gpm_sample **to) { SYSTEM_CALL(nvmlGpmSampleAlloc); *to = calloc(1, sizeof **to); return end(OK); }
answer nvmlGpmSampleFree(struct gpm_sample *sample) { SYSTEM_CALL(nvmlGpmSampleFree); free(sample); return end(OK); }

answer nvmlGpmSampleGet(struct device *device, struct gpm_sample *to)
{
	DEVICE_CALL(nvmlGpmSampleGet, device);
	*to = (struct gpm_sample){device->gpu, -1};
	return end(OK);
}

answer nvmlGpmMigSampleGet(struct device *device, uint gpu_instance, struct gpm_sample *to)
{
	DEVICE_CALL(nvmlGpmMigSampleGet, device);
	*to = (struct gpm_sample){device->gpu, (int)gpu_instance};
	return end(OK);
}

static const char *gpm_value(const struct gpm_sample *sample, uint metric)
{
	for (int slice = 0; sample->gpu_instance >= 0 && slice < MOST_SLICES; slice++)
		if (state_number(state_get("gpus.%d.mig.%d.gi", sample->gpu, slice), ~0ull) == (ull)sample->gpu_instance)
			return state_get("gpus.%d.mig.%d.gpm.%u", sample->gpu, slice, metric);
	const char *own = state_get("gpus.%d.gpm.%u", sample->gpu, metric);
	return own ? own : state_get("defaults.gpm.%u", metric);
}

answer nvmlGpmMetricsGet(struct gpm_question *question)
{
	SYSTEM_CALL(nvmlGpmMetricsGet);
	for (uint i = 0; i < question->count; i++) {
		const char *value = gpm_value(question->second, question->metrics[i].id);
		question->metrics[i].code = value ? OK : NOT_SUPPORTED;
		question->metrics[i].value = value ? atof(value) : 0;
	}
	return end(OK);
}
