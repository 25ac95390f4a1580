/* What the box is like now: a JSON document, read again whenever it changes, as flat keys ("gpus.0.uuid").
 *
 * It is the file that $FAKE_NVML_CONFIG names; without one, the copy that travels behind the library's own ELF content
 * (`[ELF][json][8 bytes: length of json]["GPUBOX01"]`), so that a library that was carried into a container knows its box.
 */
#ifndef GPU_BOX_STATE_H
#define GPU_BOX_STATE_H

typedef unsigned int uint;
typedef unsigned long long ull;

void state_lock(void);   /* refreshes, too */
void state_unlock(void);

/* The value of a key as text; NULL when it is absent or null. Valid until the lock is given back. */
const char *state_get(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same as a number ("true" is 1, "0x…" is read). */
ull state_number(const char *text, ull otherwise);
/* Number of elements of an array or object. */
uint state_count(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether the state came with the library: then we are in somebody's container. */
int state_travelled(void);

#endif
