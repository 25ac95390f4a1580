/* A libcuda.so.1 that says which GPUs a program would get: those whose nodes it can open.
 *
 * As with the real one: without nvidiactl there is no device, without nvidia-uvm an unknown error; a slice needs the capability
 * nodes of both its instances, and a process gets one slice at most. Nodes are looked for below $LAUNCH_DEV_ROOT.
 */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, UNKNOWN = 999 };

struct cuda_device { int gpu, slice; };
static struct cuda_device devices[32];
static int count = -1;

/* An unprivileged test has nodes 0:0, which open with ENXIO: nobody forbids them, and nothing is behind them. */
static int opens(const char *format, uint number)
{
	char name[64], path[4096];
	const char *root = getenv("LAUNCH_DEV_ROOT");
	snprintf(name, sizeof name, format, number);
	snprintf(path, sizeof path, "%s/dev/%s", root ? root : "", name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) close(fd);
	return fd >= 0 || errno == ENXIO;
}

/* CUDA_VISIBLE_DEVICES: UUIDs (or the beginnings of some) and indexes, up to the first that is wrong. */
static int is_asked_for(const char *uuid, int index)
{
	const char *asked = getenv("CUDA_VISIBLE_DEVICES");
	if (!asked) return 1;
	while (*asked) {
		size_t length = strcspn(asked, ",");
		char *after;
		long number = strtol(asked, &after, 10);
		if (length && (!strncmp(uuid, asked, length) || (after == asked + length && number == index))) return 1;
		asked += length + (asked[length] == ',');
	}
	return 0;
}

static void add(int gpu, int slice, const char *uuid, int *index)
{
	if (uuid && is_asked_for(uuid, (*index)++) && count < 32) devices[count++] = (struct cuda_device){gpu, slice};
}

static void look(void)
{
	int index = 0;
	count = 0;
	for (int gpu = 0; gpu < (int)state_count("gpus"); gpu++) {
		if (!opens("nvidia%u", (uint)state_number(state_get("gpus.%d.minor", gpu), (ull)gpu))) continue;
		if (!state_number(state_get("gpus.%d.mig_mode", gpu), 0)) {
			add(gpu, -1, state_get("gpus.%d.uuid", gpu), &index);
			continue;
		}
		for (uint slice = 0; slice < state_count("gpus.%d.mig", gpu); slice++) {
			const char *first = state_get("gpus.%d.mig.%u.caps.0", gpu, slice), *second = state_get("gpus.%d.mig.%u.caps.1", gpu, slice);
			int taken = count && devices[count - 1].slice >= 0;
			if (!taken && first && second && opens("nvidia-caps/nvidia-cap%u", (uint)state_number(first, 0))
			    && opens("nvidia-caps/nvidia-cap%u", (uint)state_number(second, 0)))
				add(gpu, (int)slice, state_get("gpus.%d.mig.%u.uuid", gpu, slice), &index);
		}
	}
}

int cuInit(uint flags)
{
	(void)flags;
	state_lock();
	int error = (int)state_number(state_get("errors.cuInit"), SUCCESS);
	if (!error && !opens("nvidiactl", 0)) error = NO_DEVICE;
	if (!error && !opens("nvidia-uvm", 0)) error = UNKNOWN;
	if (!error) { look(); error = count ? SUCCESS : NO_DEVICE; }
	if (error) count = -1;
	state_unlock();
	return error;
}

int cuDriverGetVersion(int *to)
{
	state_lock();
	*to = (int)state_number(state_get("system.cuda_version"), 0);
	state_unlock();
	return SUCCESS;
}

int cuDeviceGetCount(int *to) { *to = count < 0 ? 0 : count; return count < 0 ? NOT_INITIALIZED : SUCCESS; }
int cuDeviceGet(int *to, int index) { *to = index; return count < 0 ? NOT_INITIALIZED : index < count ? SUCCESS : INVALID_DEVICE; }

static const char *value_of(int device, const char *field)
{
	struct cuda_device *one = &devices[device];
	const char *value = one->slice >= 0 ? state_get("gpus.%d.mig.%d.%s", one->gpu, one->slice, field) : NULL;
	if (!value) value = state_get("gpus.%d.%s", one->gpu, field);
	return value ? value : state_get("defaults.%s", field);
}

/* "GPU-0123…" or "MIG-0123…" → 16 bytes */
static int uuid_bytes(const char *text, unsigned char *to)
{
	int filled = 0;
	uint byte;
	for (text = strchr(text, '-') + 1; *text && filled < 16; text++)
		if (*text != '-' && sscanf(text++, "%2x", &byte) == 1) to[filled++] = (unsigned char)byte;
	return filled == 16 ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetUuid(unsigned char *to, int device)
{
	if (device < 0 || device >= count) return INVALID_DEVICE;
	state_lock();
	int error = uuid_bytes(state_get("gpus.%d.uuid", devices[device].gpu), to);
	state_unlock();
	return error;
}

/* The slice's own, where there is one. */
int cuDeviceGetUuid_v2(unsigned char *to, int device)
{
	if (device < 0 || device >= count) return INVALID_DEVICE;
	state_lock();
	int error = uuid_bytes(value_of(device, "uuid"), to);
	state_unlock();
	return error;
}

int cuDeviceGetName(char *to, int room, int device)
{
	if (device < 0 || device >= count) return INVALID_DEVICE;
	state_lock();
	snprintf(to, (size_t)room, "%s", value_of(device, "name"));
	state_unlock();
	return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *to, int device)
{
	if (device < 0 || device >= count) return INVALID_DEVICE;
	state_lock();
	*to = state_number(value_of(device, "memory_total"), 0);
	state_unlock();
	return SUCCESS;
}
