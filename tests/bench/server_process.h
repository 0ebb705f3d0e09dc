// A server of another house, started for a benchmark and ended with it.
#ifndef MAYFLY_TESTS_BENCH_SERVER_PROCESS_H_
#define MAYFLY_TESTS_BENCH_SERVER_PROCESS_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace mayfly::bench {

// Who runs it. Some servers refuse to be root.
struct RunAs {
  uid_t user = 0;
  gid_t group = 0;
  bool changed = false;
};

class ServerProcess {
 public:
  // argv[0] is the path of the program. It writes to `log`. `end` ends it, here or when this
  // process dies.
  ServerProcess(const std::vector<std::string>& argv, const std::filesystem::path& log, int end,
                const RunAs& as = {});
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Until `ready`. The program ends when it does not come to that.
  void Await(const std::function<bool()>& ready);
  // Waits for its end; the program ends when that was none in peace.
  void MustSucceed();
  // Given to the disk by it and by all of its children, those that have ended too.
  std::uint64_t Written() const;

 private:
  [[noreturn]] void Complain(const std::string& what) const;

  const std::string name_;
  const std::filesystem::path log_;
  const int end_;
  pid_t pid_ = -1;
};

}  // namespace mayfly::bench

#endif  // MAYFLY_TESTS_BENCH_SERVER_PROCESS_H_
