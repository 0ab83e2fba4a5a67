/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a region, in a virtual machine, with nothing but QEMU's ivshmem device: asks questions
 * as the guest end, as ask.c does on a mount, or answers them as the host end. vm-host.sh answers on
 * a mount. What it needs of the guest is Linux, root and /sys:
 *
 *   gcc -std=c11 -static $(pkg-config --cflags vsocfs) -o vm-guest vm-guest.c
 *   ./vm-guest demo 7 12
 *
 * Where the device is bound to vfio-pci, which needs an IOMMU in the guest, it waits for the other end's
 * rings, which are interrupts on vector 0. (uio_pci_generic does not do: it knows no MSI-X, and this
 * device has no other interrupts.) Where no driver has the device it looks every millisecond instead.
 * A driver in the guest's kernel would map BAR2 with memremap(MEMREMAP_WB), enable one MSI-X vector
 * and bus mastering, and drain in the handler of that vector; nothing is to be acknowledged at the
 * device.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vsocfs_ioctl.h"

#define DEVICES "/sys/bus/pci/devices"
#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110

/* Registers, as offsets in BAR0, and bits of the PCI configuration space. */
#define IV_POSITION 8
#define DOORBELL 12
#define PCI_COMMAND 4
#define PCI_COMMAND_MEMORY 2
#define PCI_COMMAND_MASTER 4

/* The ids under which the ends as such are known; VMs have others. */
#define GUEST_END 0u
#define HOST_END 1u

#define SECONDS_TO_WAIT 60

struct table {
  _Atomic uint32_t *slots;
  uint32_t count;
  _Atomic uint32_t *interrupt_signalled;
};

static char *registers; /* BAR0, or NULL: then by way of vfio_device */
static off_t registers_offset;
static int vfio_device;
static int interrupts = -1; /* an eventfd, if there are any */
static char *memory;        /* BAR2 */
static uint32_t size, data;
static struct table outgoing, incoming;
static uint32_t other_end;

static void die(const char *what) {
  fprintf(stderr, "vm-guest: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void refuse(const char *why) {
  fprintf(stderr, "vm-guest: %s\n", why);
  exit(1);
}

static _Atomic uint32_t *word(uint32_t offset) { return (_Atomic uint32_t *)(memory + offset); }

static void look_later(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

/* Returns when the other end has rung, or, without interrupts, when it may have. */
static void wait_for_ring(void) {
  uint64_t count;
  if (interrupts < 0) {
    look_later();
  } else if (read(interrupts, &count, sizeof count) < 0) {
    die("the eventfd of vector 0");
  }
}

/* --- The device --- */

static uint32_t read_register(uint32_t offset) {
  uint32_t value;
  if (registers != NULL) return *(volatile uint32_t *)(registers + offset);
  if (pread(vfio_device, &value, sizeof value, registers_offset + offset) < 0) die("BAR0");
  return value;
}

static void write_register(uint32_t offset, uint32_t value) {
  if (registers != NULL) {
    *(volatile uint32_t *)(registers + offset) = value;
  } else if (pwrite(vfio_device, &value, sizeof value, registers_offset + offset) < 0) {
    die("BAR0");
  }
}

static void map_memory(int fd, off_t offset, uint64_t length) {
  size = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
  memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  if (memory == MAP_FAILED) die("mapping BAR2");
}

static int open_file(const char *device, const char *name, int flags) {
  char path[sizeof DEVICES + 512];
  snprintf(path, sizeof path, DEVICES "/%s/%s", device, name);
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) die(path);
  return fd;
}

/* The number that a file of the device begins with. */
static unsigned long long number_in(const char *device, const char *name) {
  char text[64] = "";
  int fd = open_file(device, name, O_RDONLY);
  if (read(fd, text, sizeof text - 1) < 0) die(name);
  close(fd);
  return strtoull(text, NULL, 16);
}

/* What a symbolic link of the device leads to, without the directories; empty if there is none. */
static const char *link_in(const char *device, const char *name) {
  static char target[4096];
  char path[sizeof DEVICES + 512];
  snprintf(path, sizeof path, DEVICES "/%s/%s", device, name);
  ssize_t length = readlink(path, target, sizeof target - 1);
  target[length < 0 ? 0 : length] = 0;
  char *slash = strrchr(target, '/');
  return slash == NULL ? target : slash + 1;
}

/* No driver: sysfs has a file for each BAR. */
static void map_with_sysfs(const char *device) {
  int fd = open_file(device, "enable", O_WRONLY);
  if (write(fd, "1", 1) != 1) die("enabling the device");
  close(fd);

  /* BAR0 is smaller than a page, may begin anywhere in one, and what is mapped is the page. `resource`
   * begins with its address. */
  fd = open_file(device, "resource0", O_RDWR);
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  registers = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (registers == MAP_FAILED) die("mapping BAR0");
  registers += number_in(device, "resource") % page;
  close(fd);
  interrupts = -1;

  struct stat bar2;
  fd = open_file(device, "resource2", O_RDWR);
  if (fstat(fd, &bar2) < 0) die("resource2");
  map_memory(fd, 0, (uint64_t)bar2.st_size);
  close(fd);
}

static struct vfio_region_info vfio_region(uint32_t index) {
  struct vfio_region_info region = {.argsz = sizeof region, .index = index};
  if (ioctl(vfio_device, VFIO_DEVICE_GET_REGION_INFO, &region) < 0) die("GET_REGION_INFO");
  return region;
}

static void map_with_vfio(const char *device) {
  char path[64];
  snprintf(path, sizeof path, "/dev/vfio/%.32s", link_in(device, "iommu_group"));
  int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
  if (container < 0) die("/dev/vfio/vfio");
  int group = open(path, O_RDWR | O_CLOEXEC);
  if (group < 0) die(path);
  if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0) die("VFIO_GROUP_SET_CONTAINER");
  if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) < 0) die("VFIO_SET_IOMMU");
  vfio_device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, device);
  if (vfio_device < 0) die("VFIO_GROUP_GET_DEVICE_FD");

  registers = NULL;
  registers_offset = (off_t)vfio_region(VFIO_PCI_BAR0_REGION_INDEX).offset;
  struct vfio_region_info bar2 = vfio_region(VFIO_PCI_BAR2_REGION_INDEX);
  map_memory(vfio_device, (off_t)bar2.offset, bar2.size);

  /* Vector 0 counts up an eventfd. An interrupt is a write of the device to the bus. */
  interrupts = eventfd(0, EFD_CLOEXEC);
  if (interrupts < 0) die("eventfd");
  union {
    struct vfio_irq_set set;
    char bytes[sizeof(struct vfio_irq_set) + sizeof(int)];
  } vectors = {.set = {.argsz = sizeof vectors,
                       .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                       .index = VFIO_PCI_MSIX_IRQ_INDEX,
                       .count = 1}};
  memcpy(vectors.set.data, &interrupts, sizeof interrupts);
  if (ioctl(vfio_device, VFIO_DEVICE_SET_IRQS, &vectors) < 0) die("VFIO_DEVICE_SET_IRQS");
  uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  off_t place = (off_t)vfio_region(VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND;
  if (pwrite(vfio_device, &command, sizeof command, place) < 0) die("enabling bus mastering");
}

static void map_device(const char *device) {
  const char *driver = link_in(device, "driver");
  if (strcmp(driver, "vfio-pci") == 0) {
    map_with_vfio(device);
  } else if (*driver == 0) {
    map_with_sysfs(device);
  } else {
    fprintf(stderr, "vm-guest: %s: the driver %s has this device\n", device, driver);
    exit(1);
  }
}

/* --- The region, as its header describes it --- */

/* The other end may write to the header, too: it is copied once, and the copy is looked at. */
static void copy(void *to, uint32_t offset, uint32_t length) {
  if (offset % 4 != 0 || (uint64_t)offset + length > size) refuse("the header lies outside");
  uint32_t *words = to;
  for (uint32_t i = 0; i < length / 4; i++) words[i] = atomic_load(word(offset + i * 4));
}

static struct table table_at(struct vsoc_signal_table_layout layout) {
  if (layout.num_nodes_lg2 > 29 || layout.futex_uaddr_table_offset % 4 != 0 ||
      layout.interrupt_signalled_offset % 4 != 0 ||
      layout.futex_uaddr_table_offset + ((uint64_t)4 << layout.num_nodes_lg2) > size ||
      (uint64_t)layout.interrupt_signalled_offset + 4 > size) {
    refuse("the header describes a signal table that is not in the region");
  }
  return (struct table){.slots = word(layout.futex_uaddr_table_offset),
                        .count = 1u << layout.num_nodes_lg2,
                        .interrupt_signalled = word(layout.interrupt_signalled_offset)};
}

/* Whether the device that is mapped is the region of this name; if so, all of the above is set. */
static bool is_region(const char *device, const char *name, bool as_host) {
  struct vsoc_shm_layout_descriptor layout;
  copy(&layout, 0, sizeof layout);
  if (layout.major_version != VSOC_LAYOUT_MAJOR_VERSION || layout.region_count != 1) {
    fprintf(stderr, "vm-guest: the memory of %s is no vsoc region\n", device);
    return false;
  }
  struct vsoc_device_region region;
  copy(&region, layout.vsoc_region_desc_offset, sizeof region);
  region.device_name[sizeof region.device_name - 1] = 0;
  if (strcmp(region.device_name, name) != 0) {
    fprintf(stderr, "vm-guest: %s is the region %s\n", device, region.device_name);
    return false;
  }
  if (region.region_begin_offset != 0 || region.region_end_offset > size ||
      region.offset_of_region_data % 4 != 0 ||
      (uint64_t)region.offset_of_region_data + 8 > region.region_end_offset) {
    refuse("the header describes more than there is");
  }
  size = region.region_end_offset;
  data = region.offset_of_region_data;
  struct table guest_to_host = table_at(region.guest_to_host_signal_table);
  struct table host_to_guest = table_at(region.host_to_guest_signal_table);
  outgoing = as_host ? host_to_guest : guest_to_host;
  incoming = as_host ? guest_to_host : host_to_guest;
  other_end = as_host ? GUEST_END : HOST_END;
  fprintf(stderr, "vm-guest: %s is the region %s, and this is peer %u %s interrupts\n", device, name,
          read_register(IV_POSITION), interrupts < 0 ? "without" : "with");
  return true;
}

static void find_region(const char *name, bool as_host) {
  DIR *devices = opendir(DEVICES);
  if (devices == NULL) die(DEVICES);
  for (struct dirent *entry; (entry = readdir(devices)) != NULL;) {
    if (entry->d_name[0] == '.' || number_in(entry->d_name, "vendor") != IVSHMEM_VENDOR ||
        number_in(entry->d_name, "device") != IVSHMEM_DEVICE) {
      continue;
    }
    map_device(entry->d_name);
    if (is_region(entry->d_name, name, as_host)) {
      closedir(devices);
      return;
    }
  }
  refuse("no ivshmem device of this machine has that region");
}

/* --- The protocol of docs/protocol.md --- */

/* Everybody at the other end: the upper half of the register is the peer, the lower the vector. */
static void ring(void) { write_register(DOORBELL, other_end << 16 | 0); }

static void interrupt(void) {
  if (atomic_exchange(outgoing.interrupt_signalled, 1) == 0) ring();
}

/* Puts the offset into a free slot, unless it stands there already. The exchange is needed in both
 * cases: it orders what was stored at the offset before the receiver's look at it. */
static bool put(uint32_t offset) {
  for (uint32_t i = 0; i < outgoing.count; i++) {
    _Atomic uint32_t *slot = &outgoing.slots[(offset / 4 + i) % outgoing.count];
    uint32_t seen = atomic_load(slot);
    for (int tries = 0; tries < 8 && (seen == 0 || (seen & ~1u) == offset); tries++) {
      if (atomic_compare_exchange_strong(slot, &seen, seen | offset)) return true;
    }
  }
  return false;
}

/* Where the table is full the receiver has to come first. It cannot be waited for with a futex, as on a
 * mount: a device's memory, as it is mapped here, has none. */
static void post(uint32_t offset) {
  while (!put(offset)) {
    interrupt();
    look_later();
  }
  interrupt();
}

/* Takes in what the other end has posted. A driver would do this when vector 0 interrupts it, and
 * once at the start: a receiver before it may have left something.
 *
 * Where the table was full there may be senders that wait for room, in the futexes that there are
 * none of here. They look when this end rings. */
static void drain(void (*take)(uint32_t offset)) {
  int passes = 0;
  uint32_t taken = 0;
  do {
    atomic_exchange(incoming.interrupt_signalled, 0); /* First! */
    for (uint32_t i = 0; i < incoming.count; i++) {
      uint32_t value = atomic_load(&incoming.slots[i]);
      if (value != 0) value = atomic_exchange(&incoming.slots[i], 0);
      if (value != 0) taken++;
      uint32_t offset = value & ~VSOC_OFFSET_ROUND_TRIP;
      if (offset == 0 || offset % 4 != 0 || (uint64_t)offset + 4 > size) continue;
      take(offset); /* And here a driver would wake who sleeps on this word. */
      if (value & VSOC_OFFSET_ROUND_TRIP) post(offset);
    }
  } while (atomic_load(incoming.interrupt_signalled) != 0 && ++passes < 4);
  if (taken >= incoming.count) ring();
}

/* --- Questions and answers: a word for each, one behind the other --- */

static bool is_answered;

static void nobody_answers(int signal) {
  static const char message[] = "vm-guest: nobody answers: does vm-host.sh run for this region?\n";
  (void)signal;
  if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(3);
  _exit(1);
}

static void take_answer(uint32_t offset) {
  if (offset == data + 4) is_answered = true;
}

static void ask(const char *text) {
  char *end;
  errno = 0;
  unsigned long number = strtoul(text, &end, 0);
  if (errno != 0 || *text == 0 || *end != 0 || number > UINT32_MAX) {
    fprintf(stderr, "vm-guest: %s: not a number of 32 bits\n", text);
    exit(2);
  }
  signal(SIGALRM, nobody_answers);
  alarm(SECONDS_TO_WAIT);
  drain(take_answer);
  is_answered = false;
  atomic_store(word(data), (uint32_t)number);
  post(data);
  while (!is_answered) {
    wait_for_ring();
    drain(take_answer);
  }
  alarm(0);
  printf("%lu -> %u\n", number, atomic_load(word(data + 4)));
  fflush(stdout);
}

/* The question is where the offset says, its answer is told of by its own offset. */
static void answer(uint32_t offset) {
  if (offset < data || offset > size - 8) return;
  uint32_t number = atomic_load(word(offset));
  atomic_store(word(offset + 4), number * number);
  post(offset + 4);
  printf("%u -> %u\n", number, number * number);
  fflush(stdout);
}

int main(int argc, char **argv) {
  bool as_host = argc == 3 && strcmp(argv[1], "--answer") == 0;
  if (argc < 3 || (argv[1][0] == '-' && !as_host)) {
    fprintf(stderr,
            "usage: vm-guest REGION NUMBER...    asks, in a machine on REGION/ivshmem\n"
            "       vm-guest --answer REGION     answers, in one on REGION/peer/ivshmem\n");
    return 2;
  }
  find_region(argv[as_host ? 2 : 1], as_host);
  if (as_host) {
    while (1) {
      drain(answer);
      wait_for_ring();
    }
  }
  for (int i = 2; i < argc; i++) ask(argv[i]);
  return 0;
}
