// The owner of a file descriptor.
#ifndef MAYFLY_STORE_KEYS_DESCRIPTOR_H_
#define MAYFLY_STORE_KEYS_DESCRIPTOR_H_

#include <unistd.h>
#include <utility>

namespace mayfly::store {

// Closes it at its end. Takes what open(2) and the like returned, -1 included.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  // False when there was nothing open, or when the kernel tells now of an earlier write that
  // failed; errno says which. Nothing is open afterwards.
  bool Close() {
    const int fd = std::exchange(fd_, -1);
    return fd >= 0 && ::close(fd) == 0;
  }

 private:
  int fd_ = -1;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_DESCRIPTOR_H_
