#define _GNU_SOURCE
#include "state.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct entry { char *key, *value; };

static struct entry *table;
static size_t entries, room;
static int sorted, travelled;
static struct stat seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- JSON → flat keys ---- */

static void put(const char *key, char *value)
{
	if (entries == room) {
		room = room ? room * 2 : 512;
		table = realloc(table, room * sizeof *table);
	}
	table[entries++] = (struct entry){strdup(key), value};
}

static const char *skip(const char *at)
{
	while (*at && strchr(" \t\r\n,:", *at)) at++;
	return at;
}

static const char *read_string(const char *at, char **text)
{
	char *to = *text = malloc(strlen(at) + 1);
	for (at++; *at && *at != '"'; at++) {
		if (*at == '\\' && at[1]) at++;
		*to++ = *at;
	}
	*to = 0;
	return *at ? at + 1 : at;
}

static const char *read_value(const char *at, const char *path)
{
	at = skip(at);
	if (*at == '"') {
		char *text;
		at = read_string(at, &text);
		put(path, text);
		return at;
	}
	if (*at != '{' && *at != '[') {
		const char *start = at;
		while (*at && !strchr(",]} \t\r\n", *at)) at++;
		put(path, strndup(start, (size_t)(at - start)));
		return at;
	}
	char close = *at == '{' ? '}' : ']', below[512], *number = NULL;
	int count = 0;
	for (at = skip(at + 1); *at && *at != close; at = skip(at), count++) {
		if (close == '}') {
			char *name;
			at = read_string(at, &name);
			snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", name);
			free(name);
		} else {
			snprintf(below, sizeof below, "%s.%d", path, count);
		}
		at = read_value(at, below);
	}
	snprintf(below, sizeof below, "%s.#", path);
	if (asprintf(&number, "%d", count) > 0) put(below, number);
	return *at ? at + 1 : at;
}

static void read_document(const char *document)
{
	for (size_t i = 0; i < entries; i++) { free(table[i].key); free(table[i].value); }
	entries = 0;
	sorted = 0;
	read_value(document, "");
}

/* ---- where the document is ---- */

static char *read_whole(FILE *file, long from, size_t length)
{
	char *content = calloc(1, length + 1);
	fseek(file, from, SEEK_SET);
	content[fread(content, 1, length, file)] = 0;
	fclose(file);
	return content;
}

static int read_file(const char *path)
{
	struct stat now;
	if (!path || stat(path, &now)) return 0;
	if (now.st_ino == seen.st_ino && now.st_size == seen.st_size && now.st_mtim.tv_sec == seen.st_mtim.tv_sec
	    && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec) return 1;
	FILE *file = fopen(path, "re");
	if (!file) return 0;
	char *document = read_whole(file, 0, (size_t)now.st_size);
	read_document(document);
	free(document);
	seen = now;
	return 1;
}

static void read_own_tail(void)
{
	Dl_info own;
	if (travelled || !dladdr((void *)read_own_tail, &own)) return;
	FILE *file = fopen(own.dli_fname, "re");
	if (!file) return;
	struct { ull length; char mark[8]; } tail;
	fseek(file, -(long)sizeof tail, SEEK_END);
	long end = ftell(file);
	if (fread(&tail, sizeof tail, 1, file) != 1 || memcmp(tail.mark, "GPUBOX01", 8)) { fclose(file); return; }
	char *document = read_whole(file, end - (long)tail.length, tail.length);
	read_document(document);
	free(document);
	travelled = 1;
}

void state_lock(void)
{
	pthread_mutex_lock(&lock);
	if (read_file(getenv("FAKE_NVML_CONFIG"))) travelled = 0;
	else read_own_tail();
}

void state_unlock(void) { pthread_mutex_unlock(&lock); }
int state_travelled(void) { return travelled; }

/* ---- asking ---- */

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static const char *look_up(const char *key)
{
	if (!sorted) { qsort(table, entries, sizeof *table, by_key); sorted = 1; }
	struct entry wanted = {(char *)key, NULL}, *found = bsearch(&wanted, table, entries, sizeof *table, by_key);
	return found && strcmp(found->value, "null") ? found->value : NULL;
}

const char *state_get(const char *format, ...)
{
	char key[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(key, sizeof key, format, arguments);
	va_end(arguments);
	return look_up(key);
}

uint state_count(const char *format, ...)
{
	char key[512];
	va_list arguments;
	va_start(arguments, format);
	size_t length = (size_t)vsnprintf(key, sizeof key - 2, format, arguments);
	va_end(arguments);
	strcpy(key + length, ".#");
	return (uint)state_number(look_up(key), 0);
}

ull state_number(const char *text, ull otherwise)
{
	if (!text) return otherwise;
	if (!strcmp(text, "true")) return 1;
	return strcmp(text, "false") ? strtoull(text, NULL, 0) : 0;
}
