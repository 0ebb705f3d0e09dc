// The organisation's own words, from the configuration: for /v1/about, and for what people are
// given.
#ifndef MAYFLY_SERVICE_API_ABOUT_TEXT_H_
#define MAYFLY_SERVICE_API_ABOUT_TEXT_H_

#include <string>

namespace mayfly::service::api {

struct AboutText {
  std::string organisation, purposes, recipients, data_location, contact;
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_ABOUT_TEXT_H_
