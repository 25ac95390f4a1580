/* A libnvidia-ml.so.1 of our own: answers from the state of a box. No GPU, no driver.
 *
 * Calls and structures follow NVIDIA's nvml.h 13 as nvidia-ml-py uses it. A call begins with SYSTEM_CALL or DEVICE_CALL, which
 * count delays and injected errors, and ends with `return end(code)`.
 */
#ifndef GPU_BOX_NVML_H
#define GPU_BOX_NVML_H

#include "state.h"

enum code {
	OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15, RESET_REQUIRED = 16,
	VERSION_MISMATCH = 18, IN_USE = 19, ARGUMENT_VERSION_MISMATCH = 25, UNKNOWN = 999,
};
typedef int answer;

#define MOST_GPUS 32
#define MOST_SLICES 16
#define NOT_TOLD (~0ull)

struct device { uint magic; int gpu, slice; /* -1: the whole GPU */ };
struct pci { char legacy[16]; uint domain, bus, device, id, subsystem; char address[32]; };

answer begin(const char *symbol, int must_be_initialized);
answer begin_device(const char *symbol, struct device *device);
answer end(answer code);
struct device *whole(int gpu);
struct device *slice_of(int gpu, int slice);
int gpu_count(void);
/* The error that a device's calls are to give. */
answer injected(const char *symbol, struct device *device);

/* A MIG device's own value first, then its GPU's, then the box's default. */
const char *of(struct device *device, const char *field);
answer copy_text(const char *value, char *to, uint room);
int read_pci(const char *text, struct pci *pci);

#define SYSTEM_CALL(symbol) answer failed = begin(#symbol, 1); if (failed) return end(failed)
#define DEVICE_CALL(symbol, device) answer failed = begin_device(#symbol, device); if (failed) return end(failed)

/* Calls that are one field. A field that the state lacks is one that the device does not support. */
#define TEXT_OF(symbol, field) \
	answer symbol(struct device *device, char *to, uint room) { DEVICE_CALL(symbol, device); return end(copy_text(of(device, field), to, room)); }
#define NUMBER_OF(symbol, type, field) \
	answer symbol(struct device *device, type *to) \
	{ \
		DEVICE_CALL(symbol, device); \
		const char *value = of(device, field); \
		if (!value) return end(NOT_SUPPORTED); \
		*to = (type)state_number(value, 0); \
		return end(OK); \
	}

#endif
