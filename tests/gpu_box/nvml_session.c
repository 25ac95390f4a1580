/* Init and shutdown, what the box as a whole tells, handles, and what a device is. */
#define _GNU_SOURCE
#include "nvml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MAGIC 0x4e564d4cu

static struct device devices[MOST_GPUS], slices[MOST_GPUS][MOST_SLICES];
static int initialized;

struct device *whole(int gpu) { devices[gpu] = (struct device){MAGIC, gpu, -1}; return &devices[gpu]; }
struct device *slice_of(int gpu, int slice) { slices[gpu][slice] = (struct device){MAGIC, gpu, slice}; return &slices[gpu][slice]; }

const char *of(struct device *device, const char *field)
{
	const char *value = NULL;
	if (device->slice >= 0) value = state_get("gpus.%d.mig.%d.%s", device->gpu, device->slice, field);
	if (!value) value = state_get("gpus.%d.%s", device->gpu, field);
	return value ? value : state_get("defaults.%s", field);
}

/* ---- beginning and ending a call ---- */

static void wait_ms(ull ms)
{
	if (!ms) return;
	state_unlock();      /* a slow call holds up nobody else's */
	usleep((useconds_t)(1000 * ms));
	state_lock();
}

answer begin(const char *symbol, int must_be_initialized)
{
	state_lock();
	if (getenv("FAKE_NVML_TRACE")) fprintf(stderr, "fake-nvml: %s\n", symbol);
	wait_ms(state_number(state_get("delays_ms.%s", symbol), 0));
	ull error = state_number(state_get("errors.%s", symbol), 0);
	if (error) return (answer)error;
	return must_be_initialized && !initialized ? UNINITIALIZED : OK;
}

answer injected(const char *symbol, struct device *device)
{
	const char *delay = state_get("gpus.%d.delays_ms.%s", device->gpu, symbol);
	if (!delay) delay = state_get("gpus.%d.delays_ms.*", device->gpu);
	wait_ms(state_number(delay, 0));
	const char *error = state_get("gpus.%d.errors.%s", device->gpu, symbol);
	if (!error) error = state_get("gpus.%d.errors.*", device->gpu);      /* a lost GPU: every call fails */
	if (error && !strcmp(error, "-1")) abort();
	return (answer)state_number(error, OK);
}

answer begin_device(const char *symbol, struct device *device)
{
	answer failed = begin(symbol, 1);
	if (failed) return failed;
	return device && device->magic == MAGIC ? injected(symbol, device) : INVALID_ARGUMENT;
}

answer end(answer code) { state_unlock(); return code; }

answer copy_text(const char *value, char *to, uint room)
{
	if (!value) return NOT_SUPPORTED;
	if (strlen(value) + 1 > room) return INSUFFICIENT_SIZE;
	strcpy(to, value);
	return OK;
}

/* ---- the box ---- */

answer nvmlInitWithFlags(uint flags) { (void)flags; answer failed = begin("nvmlInitWithFlags", 0); if (!failed) initialized++; return end(failed); }
answer nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
answer nvmlInit(void) { return nvmlInitWithFlags(0); }
answer nvmlShutdown(void) { SYSTEM_CALL(nvmlShutdown); initialized--; return end(OK); }

const char *nvmlErrorString(answer code)
{
	switch (code) {
	case OK: return "The operation was successful";
	case UNINITIALIZED: return "Uninitialized";
	case INVALID_ARGUMENT: return "Invalid Argument";
	case NOT_SUPPORTED: return "Not Supported";
	case NO_PERMISSION: return "Insufficient Permissions";
	case NOT_FOUND: return "Not Found";
	case INSUFFICIENT_SIZE: return "Insufficient Size";
	case DRIVER_NOT_LOADED: return "Driver Not Loaded";
	case TIMEOUT: return "Timeout";
	case GPU_IS_LOST: return "GPU is lost";
	case RESET_REQUIRED: return "GPU requires reset";
	case VERSION_MISMATCH: return "Driver/library version mismatch";
	case IN_USE: return "In use by another client";
	case ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
	default: return "Unknown Error";
	}
}

answer nvmlSystemGetDriverVersion(char *to, uint room) { SYSTEM_CALL(nvmlSystemGetDriverVersion); return end(copy_text(state_get("system.driver_version"), to, room)); }
answer nvmlSystemGetNVMLVersion(char *to, uint room) { SYSTEM_CALL(nvmlSystemGetNVMLVersion); return end(copy_text(state_get("system.nvml_version"), to, room)); }
answer nvmlSystemGetCudaDriverVersion(int *to) { SYSTEM_CALL(nvmlSystemGetCudaDriverVersion); *to = (int)state_number(state_get("system.cuda_version"), 0); return end(OK); }
answer nvmlSystemGetCudaDriverVersion_v2(int *to) { SYSTEM_CALL(nvmlSystemGetCudaDriverVersion_v2); *to = (int)state_number(state_get("system.cuda_version"), 0); return end(OK); }

answer nvmlSystemGetProcessName(uint pid, char *to, uint room)
{
	SYSTEM_CALL(nvmlSystemGetProcessName);
	const char *name = state_get("process_names.%u", pid);
	return end(name ? copy_text(name, to, room) : NOT_FOUND);
}

/* ---- handles ---- */

/* 0, or why the node of a GPU can't be opened. */
static int refusal(int gpu)
{
	char node[4096];
	const char *root = state_travelled() ? NULL : getenv("LAUNCH_DEV_ROOT");
	snprintf(node, sizeof node, "%s/dev/nvidia%u", root ? root : "", (uint)state_number(state_get("gpus.%d.minor", gpu), (ull)gpu));
	int fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd >= 0) close(fd);
	return fd >= 0 ? 0 : errno;
}

/* In a container only the GPUs are there whose node can be opened. */
static int is_here(int gpu) { return !state_travelled() || !refusal(gpu); }

/* Outside all are counted; of one that a device cgroup forbids there is no handle. */
static answer handle(const char *symbol, struct device *device)
{
	return refusal(device->gpu) == EPERM ? NO_PERMISSION : injected(symbol, device);
}

static int nth(uint index)
{
	int all = (int)state_count("gpus");
	for (int gpu = 0; gpu < all && gpu < MOST_GPUS; gpu++)
		if (is_here(gpu) && index-- == 0) return gpu;
	return -1;
}

int gpu_count(void)
{
	int count = 0;
	while (nth((uint)count) >= 0) count++;
	return count;
}

answer nvmlDeviceGetCount_v2(uint *to) { SYSTEM_CALL(nvmlDeviceGetCount_v2); *to = (uint)gpu_count(); return end(OK); }

answer nvmlDeviceGetHandleByIndex_v2(uint index, struct device **to)
{
	SYSTEM_CALL(nvmlDeviceGetHandleByIndex_v2);
	int gpu = nth(index);
	if (gpu < 0) return end(INVALID_ARGUMENT);
	*to = whole(gpu);
	return end(handle("nvmlDeviceGetHandleByIndex_v2", *to));
}

answer nvmlDeviceGetHandleByUUID(const char *uuid, struct device **to)
{
	SYSTEM_CALL(nvmlDeviceGetHandleByUUID);
	int all = (int)state_count("gpus");
	for (int gpu = 0; gpu < all && gpu < MOST_GPUS; gpu++) {
		const char *value = state_get("gpus.%d.uuid", gpu);
		if (value && !strcasecmp(value, uuid)) { *to = whole(gpu); return end(handle("nvmlDeviceGetHandleByUUID", *to)); }
		for (int slice = 0; slice < MOST_SLICES; slice++) {
			value = state_get("gpus.%d.mig.%d.uuid", gpu, slice);
			if (value && !strcasecmp(value, uuid)) { *to = slice_of(gpu, slice); return end(handle("nvmlDeviceGetHandleByUUID", *to)); }
		}
	}
	return end(NOT_FOUND);
}

answer nvmlDeviceGetHandleByPciBusId_v2(const char *address, struct device **to)
{
	SYSTEM_CALL(nvmlDeviceGetHandleByPciBusId_v2);
	int all = (int)state_count("gpus");
	const char *wanted = strchr(address, ':');      /* the domain may have 4 or 8 digits */
	for (int gpu = 0; gpu < all && gpu < MOST_GPUS; gpu++) {
		const char *value = state_get("gpus.%d.pci_bus_id", gpu), *rest = value ? strchr(value, ':') : NULL;
		if (rest && wanted && !strcasecmp(rest, wanted)) { *to = whole(gpu); return end(handle("nvmlDeviceGetHandleByPciBusId_v2", *to)); }
	}
	return end(NOT_FOUND);
}

/* ---- what a device is ---- */

answer nvmlDeviceGetIndex(struct device *device, uint *to) { DEVICE_CALL(nvmlDeviceGetIndex, device); *to = (uint)(device->slice >= 0 ? device->slice : device->gpu); return end(OK); }
answer nvmlDeviceGetMinorNumber(struct device *device, uint *to) { DEVICE_CALL(nvmlDeviceGetMinorNumber, device); *to = (uint)state_number(state_get("gpus.%d.minor", device->gpu), (ull)device->gpu); return end(OK); }
TEXT_OF(nvmlDeviceGetName, "name")
TEXT_OF(nvmlDeviceGetUUID, "uuid")
TEXT_OF(nvmlDeviceGetSerial, "serial")
TEXT_OF(nvmlDeviceGetVbiosVersion, "vbios")
NUMBER_OF(nvmlDeviceGetBrand, uint, "brand")
NUMBER_OF(nvmlDeviceGetArchitecture, uint, "architecture")
NUMBER_OF(nvmlDeviceGetComputeMode, uint, "compute_mode")
NUMBER_OF(nvmlDeviceGetPersistenceMode, uint, "persistence_mode")

answer nvmlDeviceGetCudaComputeCapability(struct device *device, int *major, int *minor)
{
	DEVICE_CALL(nvmlDeviceGetCudaComputeCapability, device);
	const char *value = of(device, "compute_capability");
	return end(value && sscanf(value, "%d.%d", major, minor) == 2 ? OK : NOT_SUPPORTED);
}

/* Settings belong to root, and no test changes them: the calls answer as the driver would. */
static answer set(const char *symbol, struct device *device)
{
	answer failed = begin_device(symbol, device);
	return end(failed ? failed : geteuid() ? NO_PERMISSION : OK);
}

answer nvmlDeviceSetComputeMode(struct device *device, uint mode) { (void)mode; return set("nvmlDeviceSetComputeMode", device); }
answer nvmlDeviceSetPersistenceMode(struct device *device, uint mode) { (void)mode; return set("nvmlDeviceSetPersistenceMode", device); }
answer nvmlDeviceSetAccountingMode(struct device *device, uint mode) { (void)mode; return set("nvmlDeviceSetAccountingMode", device); }
