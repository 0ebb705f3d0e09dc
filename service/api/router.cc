#include "service/api/router.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mayfly::service::api {
namespace {

// Whether `path` fits `pattern`; fills `captures`. A capture never matches an empty segment.
bool Fits(std::string_view pattern, const std::vector<std::string>& path,
          std::map<std::string, std::string>& captures) {
  captures.clear();
  pattern.remove_prefix(1);
  for (std::size_t i = 0; i < path.size(); ++i) {
    const std::size_t slash = pattern.find('/');
    const std::string_view part = pattern.substr(0, slash);
    if (part.size() > 2 && part.front() == '{' && part.back() == '}') {
      if (path[i].empty()) return false;
      captures.emplace(part.substr(1, part.size() - 2), path[i]);
    } else if (part != path[i]) {
      return false;
    }
    const bool last = i + 1 == path.size();
    if (slash == std::string_view::npos) return last;
    if (last) return false;
    pattern.remove_prefix(slash + 1);
  }
  return false;
}

}  // namespace

void Router::Add(std::vector<Route> routes) {
  routes_.insert(routes_.end(), std::make_move_iterator(routes.begin()),
                 std::make_move_iterator(routes.end()));
}

Router::Match Router::Find(std::string_view method, const std::vector<std::string>& path) const {
  Match match;
  std::map<std::string, std::string> captures;
  for (const Route& route : routes_) {
    if (!Fits(route.pattern, path, captures)) continue;
    const bool head = method == "HEAD" && route.method == "GET";
    if (match.route == nullptr && (route.method == method || head)) {
      match.route = &route;
      match.captures = captures;
    }
    match.allowed_methods.push_back(route.method);
    if (route.method == "GET") match.allowed_methods.push_back("HEAD");
  }
  return match;
}

}  // namespace mayfly::service::api
