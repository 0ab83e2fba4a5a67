// SPDX-License-Identifier: Apache-2.0
//
// A tour of a region's ioctls in C++, with nothing but the installed headers: `tour DATA PEER-DATA`.
// Says what it finds, a line each.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "vsoc_shm.h"
#include "vsocfs_ioctl.h"

namespace {

class End {
 public:
  explicit End(const std::string &path) : descriptor_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (descriptor_ < 0) throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  End(const End &) = delete;
  End &operator=(const End &) = delete;
  ~End() { close(descriptor_); }

  // The errno, or 0.
  template <typename... Argument>
  int call(unsigned long request, Argument... argument) const {
    return ioctl(descriptor_, request, argument...) == 0 ? 0 : errno;
  }

  template <typename Answer>
  Answer get(unsigned long request) const {
    Answer answer{};
    if (call(request, &answer) != 0) throw std::runtime_error(std::strerror(errno));
    return answer;
  }

  std::vector<uint32_t> drain() const {
    const auto result = get<vsocfs_drain>(VSOCFS_DRAIN);
    return {result.offsets, result.offsets + result.count};
  }

 private:
  int descriptor_;
};

}  // namespace

int main(int argc, char **argv) try {
  if (argc != 3) throw std::runtime_error("usage: tour DATA PEER-DATA");
  const End guest(argv[1]), host(argv[2]);

  const auto region = guest.get<vsoc_device_region>(VSOC_DESCRIBE_REGION);
  const auto info = host.get<vsocfs_region_info>(VSOCFS_REGION_INFO);
  std::cout << region.device_name << " " << region.region_end_offset << " "
            << (region.offset_of_region_data == info.offset_of_region_data) << " "
            << (info.end == VSOCFS_END_HOST) << "\n";

  host.drain();
  std::cout << guest.call(VSOCFS_POST, region.offset_of_region_data);
  for (const auto offset : host.drain()) std::cout << " " << offset - info.offset_of_region_data;
  std::cout << " " << host.drain().size() << "\n";

  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  vsoc_cond_wait wait{};
  wait.offset = region.offset_of_region_data;
  wait.wait_type = VSOC_WAIT_IF_EQUAL_TIMEOUT;
  wait.wake_time_sec = static_cast<uint64_t>(now.tv_sec);
  std::cout << (guest.call(VSOC_COND_WAIT, &wait) == ETIMEDOUT) << " " << wait.wakes << " "
            << (guest.call(VSOC_COND_WAKE, wait.offset + 1) == EADDRNOTAVAIL) << "\n";

  std::cout << guest.call(VSOC_MAYBE_SEND_INTERRUPT_TO_HOST) << " "
            << (guest.call(VSOC_MAYBE_SEND_INTERRUPT_TO_HOST) == EBUSY) << " "
            << host.call(VSOC_WAIT_FOR_INCOMING_INTERRUPT) << " "
            << guest.call(VSOCFS_SIGNAL_INJECT) << " "
            << (guest.call(VSOCFS_RELEASE_PERMISSION) == ENOENT) << "\n";
  return 0;
} catch (const std::exception &error) {
  std::cerr << "tour: " << error.what() << "\n";
  return 1;
}
