// A mutex that clang's -Wthread-safety understands: members say which lock guards them.
#ifndef MAYFLY_STORE_MODEL_MUTEX_H_
#define MAYFLY_STORE_MODEL_MUTEX_H_

#include <mutex>

#if defined(__clang__)
#define MAYFLY_ATTRIBUTE_(x) __attribute__((x))
#else
#define MAYFLY_ATTRIBUTE_(x)
#endif
#define MAYFLY_GUARDED_BY(x) MAYFLY_ATTRIBUTE_(guarded_by(x))
#define MAYFLY_REQUIRES(...) MAYFLY_ATTRIBUTE_(requires_capability(__VA_ARGS__))
#define MAYFLY_EXCLUDES(...) MAYFLY_ATTRIBUTE_(locks_excluded(__VA_ARGS__))

namespace mayfly {

class MAYFLY_ATTRIBUTE_(capability("mutex")) Mutex {
 public:
  void lock() MAYFLY_ATTRIBUTE_(acquire_capability()) { mutex_.lock(); }
  void unlock() MAYFLY_ATTRIBUTE_(release_capability()) { mutex_.unlock(); }
  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

class MAYFLY_ATTRIBUTE_(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) MAYFLY_ATTRIBUTE_(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() MAYFLY_ATTRIBUTE_(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_MUTEX_H_
