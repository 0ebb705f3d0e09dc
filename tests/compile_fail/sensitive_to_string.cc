// A Sensitive value does not turn into a string unless somebody writes Reveal().
#include <string>

#include "store/model/sensitive.h"

std::string Text(const mayfly::MessageBody& body) {
#ifdef MAYFLY_CONTROL
  return body.Reveal();
#else
  return body;
#endif
}
