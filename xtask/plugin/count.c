/*
 * A plugin for QEMU's translator: counts the instructions that the guest executes between two marker instructions.
 *
 *   -plugin count.so,out=FILE[,stall=MICROSECONDS][,profile=FILE]
 *
 * Markers: the eight-byte NOP 0f 1f 84 00 NN 4b 52 4d, with NN = 1 at the start of a section and 2 at its end. A processor
 * without this plugin takes them for NOPs.
 *
 * out      one line for each section: instructions in the lower half of the address space (the program), in the upper half
 *          (the kernel), iterations and executions of REP string instructions, and HLT instructions.
 *          QEMU executes an iteration of a REP instruction as an instruction; here it counts once.
 * stall    after each notification of a virtio device the guest stands still for this long in real time. The device answers
 *          meanwhile, so no request sleeps, and what is counted does not depend on how fast the host is today.
 * profile  lines "address count" of the first section; a REP counts once here as well.
 *
 * The counters are plain words: the machine must have one processor.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What is used of version 1 of the plugin interface. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
typedef struct qemu_info_t qemu_info_t;
enum { NO_REGISTERS = 0, ADD_U64 = 0, STORES = 2 };
int qemu_plugin_version __attribute__((visibility("default"))) = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*callback)(uint64_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*callback)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*callback)(unsigned, uint32_t, uint64_t, void *),
                                      int, int, void *);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t, uint64_t);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
const char *qemu_plugin_hwaddr_device_name(const struct qemu_plugin_hwaddr *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

struct counters {
    uint64_t user, kernel, iterations, reps, halts;
};
static struct counters now, at_start;
static FILE *out;
static const char *profile_path;
static long stall_us;

/* An instruction of the guest. It lives for ever: translated code has its address in it. */
struct place {
    uint64_t address, count;
    struct place *next;
};
enum { BUCKETS = 1 << 16 };
static struct place *places[BUCKETS];

static struct place *place_of(uint64_t address)
{
    struct place **bucket = &places[(address ^ address >> 16) % BUCKETS];
    struct place *place;
    for (place = *bucket; place; place = place->next)
        if (place->address == address)
            return place;
    place = calloc(1, sizeof *place);
    if (!place)
        abort();
    place->address = address;
    place->next = *bucket;
    *bucket = place;
    return place;
}

static void forget_counts(void)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct place *place = places[i]; place; place = place->next)
            place->count = 0;
}

static void write_profile(void)
{
    FILE *file = fopen(profile_path, "w");
    if (!file)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct place *place = places[i]; place; place = place->next)
            if (place->count)
                fprintf(file, "%" PRIx64 " %" PRIu64 "\n", place->address, place->count);
    fclose(file);
}

static void section_starts(unsigned cpu, void *unused)
{
    (void)cpu, (void)unused;
    if (profile_path)
        forget_counts();
    at_start = now;
}

static void section_ends(unsigned cpu, void *unused)
{
    (void)cpu, (void)unused;
    fprintf(out, "user %" PRIu64 " kernel %" PRIu64 " iterations %" PRIu64 " reps %" PRIu64 " halts %" PRIu64 "\n",
            now.user - at_start.user, now.kernel - at_start.kernel, now.iterations - at_start.iterations,
            now.reps - at_start.reps, now.halts - at_start.halts);
    fflush(out);
    if (profile_path)
        write_profile();
    profile_path = NULL;
}

/* An iteration goes on with the one before it if nothing was executed in between. */
static void rep_iterates(unsigned cpu, void *argument)
{
    static struct place *last;
    static uint64_t last_total;
    struct place *place = argument;
    uint64_t total = now.user + now.kernel;
    (void)cpu;
    now.iterations++;
    if (place != last || total != last_total + 1) {
        now.reps++;
        place->count++;
    }
    last = place;
    last_total = total;
}

static void word_stored(unsigned cpu, uint32_t info, uint64_t address, void *unused)
{
    struct qemu_plugin_hwaddr *where = qemu_plugin_get_hwaddr(info, address);
    const char *device;
    (void)cpu, (void)unused;
    if (!where || !qemu_plugin_hwaddr_is_io(where))
        return;
    device = qemu_plugin_hwaddr_device_name(where);
    if (device && strstr(device, "notify"))
        nanosleep(&(struct timespec){ stall_us / 1000000, stall_us % 1000000 * 1000 }, NULL);
}

/* The opcode behind the prefixes; sets which prefixes there are. */
static uint8_t opcode(const uint8_t *code, size_t len, bool *rep, bool *word)
{
    *rep = *word = false;
    for (size_t i = 0; i < len; i++) {
        switch (code[i]) {
        case 0xf2: case 0xf3:
            *rep = true;
            break;
        case 0x66:
            *word = true;
            break;
        case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x67:
            break;
        case 0x40 ... 0x4f:
            break;
        default:
            return code[i];
        }
    }
    return 0x90;
}

static void instrument(struct qemu_plugin_insn *insn)
{
    static const uint8_t marker[8] = { 0x0f, 0x1f, 0x84, 0x00, 0, 0x4b, 0x52, 0x4d };
    const uint8_t *code = qemu_plugin_insn_data(insn);
    size_t len = qemu_plugin_insn_size(insn);
    uint64_t address = qemu_plugin_insn_vaddr(insn);
    uint64_t *half = address >> 63 ? &now.kernel : &now.user;
    struct place *place = place_of(address);
    bool rep, word;
    uint8_t op = opcode(code, len, &rep, &word);

    qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, half, 1);
    if (rep && ((op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf) || (op >= 0x6c && op <= 0x6f)))
        qemu_plugin_register_vcpu_insn_exec_cb(insn, rep_iterates, NO_REGISTERS, place);
    else if (profile_path)
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &place->count, 1);
    if (stall_us && word && (op == 0x89 || op == 0xc7))
        qemu_plugin_register_vcpu_mem_cb(insn, word_stored, NO_REGISTERS, STORES, NULL);
    if (op == 0xf4)
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &now.halts, 1);
    if (len == 8 && !memcmp(code, marker, 4) && !memcmp(code + 5, marker + 5, 3)) {
        if (code[4] == 1)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, section_starts, NO_REGISTERS, NULL);
        else if (code[4] == 2)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, section_ends, NO_REGISTERS, NULL);
    }
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++)
        instrument(qemu_plugin_tb_get_insn(block, i));
}

__attribute__((visibility("default")))
int qemu_plugin_install(uint64_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
        else if (!strncmp(argv[i], "stall=", 6))
            stall_us = atol(argv[i] + 6);
        else if (!strncmp(argv[i], "profile=", 8))
            profile_path = strdup(argv[i] + 8);
    }
    if (!out) {
        fprintf(stderr, "count: out=FILE is missing, or the file cannot be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
