/* MIG: one GPU in slices. `gpus.N.mig` is a list by index; null is a hole. */
#include "nvml.h"

#include <string.h>

answer nvmlDeviceGetMigMode(struct device *device, uint *current, uint *pending)
{
	DEVICE_CALL(nvmlDeviceGetMigMode, device);
	const char *mode = of(device, "mig_mode");
	if (!mode) return end(NOT_SUPPORTED);
	*current = (uint)state_number(mode, 0);
	*pending = (uint)state_number(of(device, "mig_mode_pending"), *current);
	return end(OK);
}

answer nvmlDeviceGetMaxMigDeviceCount(struct device *device, uint *to) { DEVICE_CALL(nvmlDeviceGetMaxMigDeviceCount, device); *to = of(device, "mig_mode") ? 7 : 0; return end(OK); }

answer nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, uint index, struct device **to)
{
	DEVICE_CALL(nvmlDeviceGetMigDeviceHandleByIndex, device);
	if (index >= 7) return end(INVALID_ARGUMENT);
	if (!state_get("gpus.%d.mig.%u.uuid", device->gpu, index)) return end(NOT_FOUND);
	*to = slice_of(device->gpu, (int)index);
	return end(OK);
}

answer nvmlDeviceIsMigDeviceHandle(struct device *device, uint *to) { DEVICE_CALL(nvmlDeviceIsMigDeviceHandle, device); *to = device->slice >= 0; return end(OK); }

answer nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct device *device, struct device **to)
{
	DEVICE_CALL(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device);
	if (device->slice < 0) return end(INVALID_ARGUMENT);
	*to = whole(device->gpu);
	return end(OK);
}

static answer instance(const char *symbol, struct device *device, const char *field, uint *to)
{
	answer failed = begin_device(symbol, device);
	if (failed) return end(failed);
	if (device->slice < 0) return end(INVALID_ARGUMENT);
	*to = (uint)state_number(of(device, field), 0);
	return end(OK);
}

answer nvmlDeviceGetGpuInstanceId(struct device *device, uint *to) { return instance("nvmlDeviceGetGpuInstanceId", device, "gi", to); }
answer nvmlDeviceGetComputeInstanceId(struct device *device, uint *to) { return instance("nvmlDeviceGetComputeInstanceId", device, "ci", to); }

struct attributes { uint multiprocessors, copy, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices; ull memory_mib; };

answer nvmlDeviceGetAttributes_v2(struct device *device, struct attributes *to)
{
	DEVICE_CALL(nvmlDeviceGetAttributes_v2, device);
	if (device->slice < 0) return end(NOT_SUPPORTED);
	memset(to, 0, sizeof *to);
	to->multiprocessors = (uint)state_number(of(device, "sm"), 16);
	to->gpu_slices = (uint)state_number(of(device, "gpu_slices"), 1);
	to->compute_slices = (uint)state_number(of(device, "compute_slices"), 1);
	to->memory_mib = state_number(of(device, "memory_total"), 0) >> 20;
	return end(OK);
}
