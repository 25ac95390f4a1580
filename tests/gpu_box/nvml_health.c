/* Whether a device is well: ECC, remapped rows, retired pages. (Its recovery action is field 230, its fabric in nvml_place.c.) */
#include "nvml.h"

#include <stdio.h>
#include <string.h>

answer nvmlDeviceGetEccMode(struct device *device, uint *current, uint *pending)
{
	DEVICE_CALL(nvmlDeviceGetEccMode, device);
	const char *mode = of(device, "ecc_mode");
	if (!mode) return end(NOT_SUPPORTED);
	*current = (uint)state_number(mode, 0);
	*pending = (uint)state_number(of(device, "ecc_mode_pending"), *current);
	return end(OK);
}

/* type: 0 corrected, 1 uncorrected; counter: 0 since the driver was loaded, 1 for ever */
answer nvmlDeviceGetTotalEccErrors(struct device *device, uint type, uint counter, ull *to)
{
	DEVICE_CALL(nvmlDeviceGetTotalEccErrors, device);
	char field[64];
	if (!of(device, "ecc_mode")) return end(NOT_SUPPORTED);
	snprintf(field, sizeof field, "ecc.%s.%s", type ? "uncorrected" : "corrected", counter ? "aggregate" : "volatile");
	*to = state_number(of(device, field), 0);
	return end(OK);
}

answer nvmlDeviceGetMemoryErrorCounter(struct device *device, uint type, uint counter, uint location, ull *to)
{
	(void)location;
	return nvmlDeviceGetTotalEccErrors(device, type, counter, to);
}

/* Before Ampere, pages were retired; since then, rows are remapped. */
NUMBER_OF(nvmlDeviceGetRetiredPagesPendingStatus, uint, "retired_pages_pending")

answer nvmlDeviceGetRemappedRows(struct device *device, uint *corrected, uint *uncorrected, uint *pending, uint *failure)
{
	DEVICE_CALL(nvmlDeviceGetRemappedRows, device);
	if (of(device, "retired_pages_pending")) return end(NOT_SUPPORTED);
	*corrected = (uint)state_number(of(device, "remapped.corrected"), 0);
	*uncorrected = (uint)state_number(of(device, "remapped.uncorrected"), 0);
	*pending = (uint)state_number(of(device, "remapped.pending"), 0);
	*failure = (uint)state_number(of(device, "remapped.failure"), 0);
	return end(OK);
}
