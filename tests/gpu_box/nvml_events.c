/* Events: `events` is a list that grows; a set sees what was appended after it was made. */
#include "nvml.h"

#include <stdlib.h>
#include <unistd.h>

#define EVERY_MS 5

struct set { ull mask[MOST_GPUS]; uint next; };
struct event { struct device *device; ull type, data; uint gpu_instance, compute_instance; };

answer nvmlEventSetCreate(struct set **to)
{
	SYSTEM_CALL(nvmlEventSetCreate);
	*to = calloc(1, sizeof **to);
	(*to)->next = state_count("events");
	return end(OK);
}

answer nvmlEventSetFree(struct set *set) { SYSTEM_CALL(nvmlEventSetFree); free(set); return end(OK); }

static ull supported(struct device *device) { return state_number(of(device, "event_types"), 0x1f); }

answer nvmlDeviceGetSupportedEventTypes(struct device *device, ull *to) { DEVICE_CALL(nvmlDeviceGetSupportedEventTypes, device); *to = supported(device); return end(OK); }

answer nvmlDeviceRegisterEvents(struct device *device, ull types, struct set *set)
{
	DEVICE_CALL(nvmlDeviceRegisterEvents, device);
	if (types & ~supported(device)) return end(NOT_SUPPORTED);
	set->mask[device->gpu] |= types;
	return end(OK);
}

/* The next event that *set* asked for. */
static int take(struct set *set, struct event *to)
{
	while (set->next < state_count("events")) {
		uint i = set->next++;
		int gpu = (int)state_number(state_get("events.%u.gpu", i), 0);
		ull type = state_number(state_get("events.%u.type", i), 8);      /* 8: a critical Xid */
		if (!(set->mask[gpu] & type)) continue;
		*to = (struct event){
			whole(gpu), type, state_number(state_get("events.%u.data", i), 0),
			(uint)state_number(state_get("events.%u.gi", i), ~0u), (uint)state_number(state_get("events.%u.ci", i), ~0u),
		};
		return 1;
	}
	return 0;
}

answer nvmlEventSetWait_v2(struct set *set, struct event *to, uint patience_ms)
{
	for (uint waited = 0;; waited += EVERY_MS) {
		SYSTEM_CALL(nvmlEventSetWait_v2);
		if (take(set, to)) return end(OK);
		end(OK);
		if (waited >= patience_ms) return TIMEOUT;
		usleep(1000 * EVERY_MS);
	}
}
