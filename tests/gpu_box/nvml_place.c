/* Where a device is: PCI, CPUs and memory near it, ways to the others. */
#define _GNU_SOURCE
#include "nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int read_pci(const char *text, struct pci *pci)
{
	uint function;
	memset(pci, 0, sizeof *pci);
	if (!text || sscanf(text, "%x:%x:%x.%x", &pci->domain, &pci->bus, &pci->device, &function) != 4) return 0;
	snprintf(pci->legacy, sizeof pci->legacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff, pci->device & 0xff);
	snprintf(pci->address, sizeof pci->address, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
	return 1;
}

answer nvmlDeviceGetPciInfo_v3(struct device *device, struct pci *to)
{
	DEVICE_CALL(nvmlDeviceGetPciInfo_v3, device);
	if (!read_pci(state_get("gpus.%d.pci_bus_id", device->gpu), to)) return end(NOT_SUPPORTED);
	to->id = (uint)state_number(of(device, "pci_device_id"), 0x233010de);
	return end(OK);
}

NUMBER_OF(nvmlDeviceGetNumaNodeId, int, "memory_numa_node")

/* "0-3,8" → bits, 64 to a word. */
static void fill_bits(const char *list, uint words, unsigned long *bits)
{
	memset(bits, 0, words * sizeof *bits);
	while (list && *list) {
		char *after;
		unsigned long first = strtoul(list, &after, 10), last = first;
		if (after == list) return;
		if (*after == '-') last = strtoul(after + 1, &after, 10);
		for (; first <= last; first++)
			if (first / 64 < words) bits[first / 64] |= 1ul << (first % 64);
		list = *after == ',' ? after + 1 : NULL;
	}
}

answer nvmlDeviceGetCpuAffinity(struct device *device, uint words, unsigned long *bits) { DEVICE_CALL(nvmlDeviceGetCpuAffinity, device); fill_bits(of(device, "cpus"), words, bits); return end(OK); }
answer nvmlDeviceGetCpuAffinityWithinScope(struct device *device, uint words, unsigned long *bits, uint scope) { (void)scope; DEVICE_CALL(nvmlDeviceGetCpuAffinityWithinScope, device); fill_bits(of(device, "cpus"), words, bits); return end(OK); }
answer nvmlDeviceGetMemoryAffinity(struct device *device, uint words, unsigned long *bits, uint scope) { (void)scope; DEVICE_CALL(nvmlDeviceGetMemoryAffinity, device); fill_bits(of(device, "numa_node"), words, bits); return end(OK); }

answer nvmlDeviceGetTopologyCommonAncestor(struct device *a, struct device *b, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetTopologyCommonAncestor, a);
	if ((failed = injected("nvmlDeviceGetTopologyCommonAncestor", b))) return end(failed);
	*to = (uint)state_number(state_get("gpus.%d.topology.%d", a->gpu, b->gpu), a->gpu == b->gpu ? 0 : 50);
	return end(OK);
}

answer nvmlDeviceGetP2PStatus(struct device *a, struct device *b, uint capability, uint *to)
{
	(void)capability;
	DEVICE_CALL(nvmlDeviceGetP2PStatus, a);
	if ((failed = injected("nvmlDeviceGetP2PStatus", b))) return end(failed);
	*to = (uint)state_number(state_get("gpus.%d.p2p.%d", a->gpu, b->gpu), 0);
	return end(OK);
}

/* ---- NVLink ---- */

static answer link_exists(struct device *device, uint link)
{
	uint links = (uint)state_number(of(device, "nvlink.links"), 0);
	return !links ? NOT_SUPPORTED : link < links ? OK : INVALID_ARGUMENT;
}

answer nvmlDeviceGetNvLinkState(struct device *device, uint link, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetNvLinkState, device);
	if ((failed = link_exists(device, link))) return end(failed);
	*to = state_number(state_get("gpus.%d.nvlink.down.%u", device->gpu, link), 0) ? 0 : 1;
	return end(OK);
}

/* `nvlink.remotes.<link>`: the peer's address; without one, every link goes to the switch `nvlink.remote`. */
static const char *remote_of(struct device *device, uint link)
{
	const char *remote = state_get("gpus.%d.nvlink.remotes.%u", device->gpu, link);
	return remote ? remote : of(device, "nvlink.remote");
}

answer nvmlDeviceGetNvLinkRemotePciInfo_v2(struct device *device, uint link, struct pci *to)
{
	DEVICE_CALL(nvmlDeviceGetNvLinkRemotePciInfo_v2, device);
	if ((failed = link_exists(device, link))) return end(failed);
	return end(read_pci(remote_of(device, link), to) ? OK : NOT_SUPPORTED);
}

answer nvmlDeviceGetNvLinkRemoteDeviceType(struct device *device, uint link, uint *to)
{
	DEVICE_CALL(nvmlDeviceGetNvLinkRemoteDeviceType, device);
	if ((failed = link_exists(device, link))) return end(failed);
	const char *remote = remote_of(device, link);
	if (!remote) return end(NOT_SUPPORTED);
	struct pci peer, one;
	read_pci(remote, &peer);
	*to = 2;      /* a switch, unless it is one of our GPUs */
	for (int gpu = 0, all = (int)state_count("gpus"); gpu < all; gpu++)
		if (read_pci(state_get("gpus.%d.pci_bus_id", gpu), &one) && !strcmp(one.address, peer.address)) *to = 0;
	return end(OK);
}

/* Versions 2 and 3 of one structure. */
struct fabric { uint version; unsigned char cluster[16]; answer status; uint clique; unsigned char state; uint mask; unsigned char summary; };

answer nvmlDeviceGetGpuFabricInfoV(struct device *device, struct fabric *to)
{
	DEVICE_CALL(nvmlDeviceGetGpuFabricInfoV, device);
	uint version = to->version >> 24;
	const char *state = of(device, "fabric.state");
	if (version != 2 && version != 3) return end(ARGUMENT_VERSION_MISMATCH);
	if (!state) return end(NOT_SUPPORTED);
	memset(to->cluster, 0x11, sizeof to->cluster);
	to->state = (unsigned char)state_number(state, 3);
	to->status = (answer)state_number(of(device, "fabric.status"), OK);
	to->clique = (uint)state_number(of(device, "fabric.clique"), 1);
	to->mask = (uint)state_number(of(device, "fabric.health_mask"), 0);
	if (version == 3) to->summary = (unsigned char)state_number(of(device, "fabric.health_summary"), 1);
	return end(OK);
}
