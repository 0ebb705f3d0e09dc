// What hostile, broken and awkward clients send, byte for byte, and the exact answer (threat T1).
// Every row goes to the real listener in a process of its own, in the clear and through TLS; after
// each row the connection is as the row says and the listener still serves.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/api_tls_client.h"
#include "tests/support/server_child.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::RawClient;
using mayfly::testing::RawResponse;
using mayfly::testing::ServerChild;
using mayfly::testing::ServerChildOptions;
using mayfly::testing::TlsClient;
using std::chrono::milliseconds;

constexpr std::size_t kGrowthMax = 16u << 20;
constexpr std::size_t kEndless = 64u << 20;  // what an attack sends at most

enum class After {
  kOpen,    // the connection answers another request
  kClosed,  // it does not, whatever is sent
  kAtEnd,   // the client stops sending first: that is the attack
};

struct Row {
  const char* name;
  std::string bytes;
  std::vector<int> statuses;  // of all answers to `bytes`
  After after;
};

Row Open(const char* name, std::string bytes, std::vector<int> statuses) {
  return {name, std::move(bytes), std::move(statuses), After::kOpen};
}
Row Shut(const char* name, std::string bytes, std::vector<int> statuses) {
  return {name, std::move(bytes), std::move(statuses), After::kClosed};
}
Row AtEnd(const char* name, std::string bytes, std::vector<int> statuses) {
  return {name, std::move(bytes), std::move(statuses), After::kAtEnd};
}

const std::string kPing = "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kEchoHead =
    "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

std::string Line(const std::string& line) { return line + "\r\nHost: a\r\n\r\n"; }
std::string Field(const std::string& field) {
  return "GET /v1/ping HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n";
}
std::string Target(const std::string& target) { return Line("GET " + target + " HTTP/1.1"); }
std::string Host(const std::string& field) {
  return "GET /v1/ping HTTP/1.1\r\n" + field + "\r\n\r\n";
}
std::string Length(const std::string& length, const std::string& body = "") {
  return kEchoHead + "Content-Length: " + length + "\r\n\r\n" + body;
}
std::string Coding(const std::string& coding, const std::string& body = "") {
  return kEchoHead + "Transfer-Encoding: " + coding + "\r\n\r\n" + body;
}
std::string Chunked(const std::string& coded) { return Coding("chunked", coded); }
std::string Repeat(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

std::vector<Row> WellFormed() {
  return {
      Open("plain GET", kPing, {200}),
      Open("three pipelined", kPing + kPing + kPing, {200, 200, 200}),
      Open("pipelined behind a body", Length("2", "{}") + kPing, {200, 200}),
      Open("pipelined behind chunks", Chunked("2\r\n{}\r\n0\r\n\r\n") + kPing, {200, 200}),
      Open("chunks with a trailer", Chunked("1\r\n1\r\n0\r\nX-A: b\r\n\r\n") + kPing, {200, 200}),
      Open("chunk sizes in both cases", Chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
           {200}),
      Shut("Connection: close ends the row", Field("Connection: close") + kPing, {200}),
      Shut("Connection: CLOSE in a list", Field("Connection: x, CLOSE") + kPing, {200}),
      Shut("close behind a request", kPing + Field("Connection: close") + kPing, {200, 200}),
      Shut("HTTP/1.0 closes", "GET /v1/ping HTTP/1.0\r\n\r\n" + kPing, {200}),
      Open("HTTP/1.0 keep-alive", "GET /v1/ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + kPing,
           {200, 200}),
      Open("tab inside a value", Field("X-A: a\tb"), {200}),
      Open("empty value", Field("X-A:"), {200}),
      Open("empty body with a length", Length("0"), {200}),
      Open("length with leading zeros", Length("0002", "{}"), {200}),
      Open("absolute form", Target("http://a/v1/ping"), {200}),
      Open("absolute form in capitals", Target("HTTPS://A/v1/ping"), {200}),
      Open("encoded UTF-8", Target("/v1/items/%c3%a9"), {200}),
      Open("Host with a port", Host("Host: a.example:8080"), {200}),
      Open("Host of IPv6", Host("Host: [::1]:8080"), {200}),
      Open("100 fields", Field(Repeat(98, "X-A: b\r\n") + "X-B: c"), {200}),
      Open("Upgrade is passed over", Field("Connection: Upgrade\r\nUpgrade: h2c, websocket"),
           {200}),
      Open("no content", Line("DELETE /v1/items/1 HTTP/1.1"), {204}),
      Open("not modified", Target("/v1/unchanged"), {304}),
      Open("expectation, body already there",
           kEchoHead + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", {200}),
      Open("expectation in capitals",
           kEchoHead + "Expect: 100-CONTINUE\r\nContent-Length: 2\r\n\r\n{}", {200}),
      Open("expectation without a body", Field("Expect: 100-continue"), {200}),
      Open("forwarded fields of nobody whom we trust",
           Field("X-Forwarded-For: no address\r\nX-Forwarded-Proto: http"), {200}),
  };
}

std::vector<Row> RequestLines() {
  using namespace std::string_literals;
  return {
      Shut("bad request stops the row", "BAD\r\n\r\n" + kPing, {400}),
      Shut("no version (HTTP/0.9)", Line("GET /v1/ping"), {400}),
      Shut("HTTP/0.9 alone", "GET /v1/ping\r\n\r\n", {400}),
      Shut("HTTP/9.9", Line("GET /v1/ping HTTP/9.9"), {505}),
      Shut("HTTP/1.2", Line("GET /v1/ping HTTP/1.2"), {505}),
      Shut("HTTP/2.0 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
      Shut("XXXX/1.1", Line("GET /v1/ping XXXX/1.1"), {400}),
      Shut("HTTP/1.1x", Line("GET /v1/ping HTTP/1.1x"), {400}),
      Shut("HTTP/11", Line("GET /v1/ping HTTP/11"), {400}),
      Shut("HTTP/ 1.1", Line("GET /v1/ping HTTP/ 1.1"), {400}),
      Shut("lower-case http", Line("GET /v1/ping http/1.1"), {400}),
      Shut("two spaces", Line("GET  /v1/ping HTTP/1.1"), {400}),
      Shut("tab for a space", Line("GET\t/v1/ping HTTP/1.1"), {400}),
      Shut("space behind the version", Line("GET /v1/ping HTTP/1.1 "), {400}),
      Shut("leading space", Line(" GET /v1/ping HTTP/1.1"), {400}),
      Shut("method with a bracket", Line("G(T /v1/ping HTTP/1.1"), {400}),
      Shut("very long method", Line(Repeat(40, "G") + " /v1/ping HTTP/1.1"), {400}),
      Shut("endless method", Repeat(20000, "G"), {414}),
      Open("lower-case method", Line("get /v1/ping HTTP/1.1"), {405}),
      Open("unknown method", Line("BREW /v1/ping HTTP/1.1"), {405}),
      Open("TRACE", Line("TRACE /v1/ping HTTP/1.1\r\nX-Secret: s"), {405}),
      Open("OPTIONS of a path", Line("OPTIONS /v1/ping HTTP/1.1"), {405}),
      Shut("OPTIONS *", Line("OPTIONS * HTTP/1.1"), {400}),
      Shut("CONNECT", Line("CONNECT a:443 HTTP/1.1"), {400}),
      Shut("empty line first", "\r\n" + kPing, {400}),
      Shut("line feeds first", "\n\n\n" + kPing, {400}),
      Shut("NUL first", "\0"s + kPing, {400}),
      Shut("bytes of nothing", "\xde\xad\xbe\xef\xff\x00\x00\x0d"s, {400}),
      Shut("TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, {400}),
      AtEnd("cut request line", "GET /v1/pi", {400}),
      AtEnd("nothing at all", "", {}),
  };
}

std::vector<Row> Targets() {
  using namespace std::string_literals;
  return {
      Open("unknown path", Target("/nothing"), {404}),
      Open("empty segment", Target("/v1//ping"), {404}),
      Open("trailing slash", Target("/v1/ping/"), {404}),
      Open("path in capitals", Target("/V1/PING"), {404}),
      Open("semicolon parameters", Target("/v1/ping;x=1"), {404}),
      Open("double encoding is decoded once", Target("/v1/%2570ing"), {404}),
      Shut("dot segment", Target("/v1/x/../ping"), {400}),
      Shut("single dot segment", Target("/v1/./ping"), {400}),
      Shut("encoded dot segment", Target("/v1/x/%2e%2E/ping"), {400}),
      Shut("half encoded dot segment", Target("/v1/x/.%2e/ping"), {400}),
      Shut("encoded slash", Target("/v1%2fping"), {400}),
      Shut("encoded NUL", Target("/v1/items/a%00"), {400}),
      Shut("encoded CR LF", Target("/v1/items/a%0d%0aX:b"), {400}),
      Shut("encoded DEL", Target("/v1/items/%7f"), {400}),
      Shut("cut escape", Target("/v1/items/%4"), {400}),
      Shut("escape without digits", Target("/v1/items/%"), {400}),
      Shut("wrong escape", Target("/v1/items/%zz"), {400}),
      Shut("escape of IIS", Target("/v1/items/%u0041"), {400}),
      Shut("encoded invalid UTF-8", Target("/v1/items/%ff%fe"), {400}),
      Shut("encoded overlong slash", Target("/v1/items/%c0%af"), {400}),
      Shut("encoded overlong dot of three bytes", Target("/v1/items/%e0%80%ae"), {400}),
      Shut("encoded surrogate", Target("/v1/items/%ed%a0%80"), {400}),
      Shut("encoded beyond Unicode", Target("/v1/items/%f4%90%80%80"), {400}),
      Shut("encoded cut sequence", Target("/v1/items/%c3"), {400}),
      Shut("raw UTF-8", Target("/v1/items/\xc3\xa9"), {400}),
      Shut("raw 0xff", Target("/v1/items/\xff"), {400}),
      Shut("raw NUL", Target("/v1/items/a\0b"s), {400}),
      Shut("raw space", Target("/v1/items/a b"), {400}),
      Shut("fragment", Target("/v1/ping#x"), {400}),
      Shut("repeated parameter", Target("/v1/ping?a=1&a=2"), {400}),
      Shut("parameter without a name", Target("/v1/ping?=1"), {400}),
      Shut("NUL in a parameter", Target("/v1/ping?a=%00"), {400}),
      Open("unknown parameter", Target("/v1/ping?a=1"), {400}),
      Shut("asterisk", Target("*"), {400}),
      Shut("authority form", Target("a:80"), {400}),
      Shut("relative", Target("v1/ping"), {400}),
      Shut("absolute form of another host", Target("http://b/v1/ping"), {400}),
      Shut("absolute form with credentials", Target("http://u@a/v1/ping"), {400}),
      Shut("absolute form without a path", Target("http://a"), {400}),
      Shut("absolute form without a host", Target("http:///v1/ping"), {400}),
      Shut("absolute form of another scheme", Target("ftp://a/v1/ping"), {400}),
      Shut("more than 32 segments", Target(Repeat(40, "/a")), {400}),
      Shut("target of 9 KiB", Target("/" + Repeat(9 << 10, "a")), {414}),
      Shut("target of 200 KiB", Target("/" + Repeat(200 << 10, "a")), {414}),
  };
}

std::vector<Row> Fields() {
  using namespace std::string_literals;
  return {
      Shut("no Host", "GET /v1/ping HTTP/1.1\r\n\r\n", {400}),
      Shut("two Hosts", Field("Host: b"), {400}),
      Shut("two equal Hosts", Field("host: a"), {400}),
      Shut("empty Host", Host("Host:"), {400}),
      Shut("Host with a path", Host("Host: a/b"), {400}),
      Shut("Host with credentials", Host("Host: u@a"), {400}),
      Shut("Host with a space", Host("Host: a b"), {400}),
      Shut("Host list", Host("Host: a, b"), {400}),
      Shut("Host of 300 bytes", Host("Host: " + Repeat(300, "a")), {400}),
      Shut("folded line", Field("X-A: a\r\n b"), {400}),
      Shut("folded with a tab", Field("X-A: a\r\n\tb"), {400}),
      Shut("folded first line", Host(" Host: a"), {400}),
      Shut("no colon", Field("X-A"), {400}),
      Shut("space before the colon", Field("X-A : b"), {400}),
      Shut("tab before the colon", Field("X-A\t: b"), {400}),
      Shut("empty name", Field(": b"), {400}),
      Shut("name with a bracket", Field("X(A: b"), {400}),
      Shut("NUL in a name", Field("X\0A: b"s), {400}),
      Shut("NUL in a value", Field("X-A: a\0b"s), {400}),
      Shut("control character in a value", Field("X-A: a\x01"), {400}),
      Shut("DEL in a value", Field("X-A: a\x7f"), {400}),
      Shut("UTF-8 in a value", Field("X-A: \xc3\xa9"), {400}),
      Shut("UTF-8 in a name", Field("X-\xc3\xa9: a"), {400}),
      Shut("bare CR in a value", Field("X-A: a\rX-B: b"), {400}),
      Shut("bare LF in a value", Field("X-A: a\nX-B: b"), {400}),
      Shut("bare LF hides a length", Field("X-A: a\nContent-Length: 5"), {400}),
      Shut("bare LF line ends", "GET /v1/ping HTTP/1.1\nHost: a\n\n", {400}),
      Shut("bare LF at the end", "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\n", {400}),
      Shut("two CRs", "GET /v1/ping HTTP/1.1\r\r\nHost: a\r\n\r\n", {400}),
      Shut("101 fields", Field(Repeat(99, "X-A: b\r\n") + "X-B: c"), {431}),
      Shut("head of 17 KiB", Field("X-A: " + Repeat(17 << 10, "a")), {431}),
      Shut("name of 17 KiB", Field(Repeat(17 << 10, "a") + ": b"), {431}),
      Shut("head without end", "GET /v1/ping HTTP/1.1\r\nHost: a\r\n" + Repeat(4000, "X: y\r\n"),
           {431}),
      Shut("two Authorizations", Field("Authorization: Bearer good\r\nAuthorization: Bearer bad"),
           {400}),
      Shut("two Content-Types", kEchoHead + "Content-Type: text/xml\r\nContent-Length: 2\r\n\r\n{}",
           {400}),
      Shut("two If-Matches", Field("If-Match: \"1\"\r\nIf-Match: \"2\""), {400}),
      Shut("two Idempotency-Keys", Field("Idempotency-Key: 1\r\nIdempotency-Key: 2"), {400}),
      Shut("two Expects", Field("Expect: 100-continue\r\nExpect: 100-continue"), {400}),
      Shut("two X-Forwarded-Protos", Field("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http"),
           {400}),
      AtEnd("cut head", "GET /v1/ping HTTP/1.1\r\nHost:", {400}),
      AtEnd("cut before the empty line", "GET /v1/ping HTTP/1.1\r\nHost: a\r\n", {400}),
      AtEnd("cut in the empty line", "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r", {400}),
      AtEnd("cut second head", kPing + "GET ", {200, 400}),
  };
}

std::vector<Row> Framing() {
  using namespace std::string_literals;
  return {
      Shut("length and chunks (CL.TE)",
           kEchoHead + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", {400}),
      Shut("chunks and length (TE.CL)",
           kEchoHead + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0"
                       "\r\n\r\n",
           {400}),
      Shut("two codings (TE.TE)",
           kEchoHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
           {400}),
      Shut("hidden coding behind a space",
           kEchoHead + "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}", {400}),
      Shut("hidden coding behind a bare CR", kEchoHead + "X: y\rTransfer-Encoding: chunked\r\n\r\n",
           {400}),
      Shut("hidden coding in a folded line", kEchoHead + "Transfer-Encoding:\r\n chunked\r\n\r\n",
           {400}),
      Shut("hidden coding behind a vertical tab",
           Coding("\x0b"
                  "chunked"),
           {400}),
      Shut("coding in quotes", Coding("\"chunked\""), {501}),
      Shut("two lengths", kEchoHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
      Shut("two equal lengths", kEchoHead + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
           {400}),
      Shut("list of lengths", Length("2, 2", "{}"), {400}),
      Shut("length -1", Length("-1"), {400}),
      Shut("length +5", Length("+5", "12345"), {400}),
      Shut("length 5abc", Length("5abc", "12345"), {400}),
      Shut("length 0x5", Length("0x5", "12345"), {400}),
      Shut("length 5.0", Length("5.0", "12345"), {400}),
      Shut("length with a space inside", Length("1 0", "1234567890"), {400}),
      Shut("empty length", Length(""), {400}),
      Shut("length 2^64 and 5", Length("18446744073709551621", "12345"), {400}),
      Shut("length 2^70", Length("1180591620717411303424"), {400}),
      Shut("length of 1000 zeros", Length(Repeat(1000, "0")), {400}),
      Shut("space before the colon of a length", kEchoHead + "Content-Length : 2\r\n\r\n{}", {400}),
      Shut("length above the route's limit", Length("1025"), {413}),
      Shut("length of 1 GB", Length("1000000000", Repeat(9000, "x")), {413}),
      AtEnd("body cut short", Length("10", "{}"), {400}),
      Shut("xchunked", Coding("xchunked", "2\r\n{}\r\n0\r\n\r\n"), {501}),
      Shut("gzip, chunked", Coding("gzip, chunked"), {501}),
      Shut("chunked, gzip", Coding("chunked, gzip"), {501}),
      Shut("chunked, chunked", Coding("chunked, chunked"), {501}),
      Shut("chunked with a parameter", Coding("chunked;q=1"), {501}),
      Shut("identity", Coding("identity"), {501}),
      Shut("empty coding", Coding(""), {501}),
      Shut("chunked twice",
           kEchoHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", {400}),
      Shut("chunks under HTTP/1.0",
           "POST /v1/echo HTTP/1.0\r\nContent-Type: application/json\r\n"
           "Transfer-Encoding: chunked\r\n\r\n",
           {400}),
  };
}

std::vector<Row> Chunks() {
  using namespace std::string_literals;
  return {
      Shut("chunk size -1", Chunked("-1\r\n"), {400}),
      Shut("chunk size -2", Chunked("-2\r\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk size -1000", Chunked("-1000\r\n"), {400}),
      Shut("chunk size +2", Chunked("+2\r\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk size 0x2", Chunked("0x2\r\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk size zz", Chunked("zz\r\n"), {400}),
      Shut("empty chunk size", Chunked("\r\n"), {400}),
      Shut("space before a chunk size", Chunked(" 2\r\n{}\r\n0\r\n\r\n"), {400}),
      Shut("space behind a chunk size", Chunked("2 \r\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk size 7fffffff", Chunked("7fffffff\r\n"), {413}),
      Shut("chunk size ffffffff", Chunked("ffffffff\r\n"), {413}),
      Shut("chunk size ffffffffffffffff", Chunked("ffffffffffffffff\r\n"), {413}),
      Shut("chunk size 2^64 and 2", Chunked("10000000000000002\r\n{}\r\n0\r\n\r\n"), {413}),
      Shut("chunk size line without end", Chunked(Repeat(100000, "0")), {413}),
      Shut("chunk extension", Chunked("2;a=b\r\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk extension with a bare LF", Chunked("2;\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk extension without end", Chunked("2;" + Repeat(100000, "a")), {400}),
      Shut("chunk longer than its size", Chunked("2\r\n{}}\r\n0\r\n\r\n"), {400}),
      Shut("chunk line with a bare LF", Chunked("2\n{}\r\n0\r\n\r\n"), {400}),
      Shut("chunk data with a bare LF", Chunked("2\r\n{}\n0\r\n\r\n"), {400}),
      Shut("last chunk with a bare LF", Chunked("2\r\n{}\r\n0\n\n"), {400}),
      Shut("chunks above the limit", Chunked(Repeat(3, "200\r\n" + Repeat(512, "x") + "\r\n")),
           {413}),
      Shut("endless chunks", Chunked(Repeat(5000, "1\r\nx\r\n")), {413}),
      Shut("endless trailer", Chunked("0\r\n" + Repeat(3000, "X: y\r\n")), {413}),
      Shut("NUL in a trailer", Chunked("0\r\nX: \0\r\n\r\n"s), {400}),
      Open("trailer that would be a length", Chunked("0\r\nContent-Length: 9\r\n\r\n") + kPing,
           {200, 200}),
      Open("trailer that would be a token",
           "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
           "Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer good\r\n\r\n"
           "GET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n",
           {200, 401}),
      AtEnd("chunks cut short", Chunked("5\r\nab"), {400}),
      AtEnd("chunks cut in the last line", Chunked("0\r\n"), {400}),
  };
}

// What the head alone decides, before a byte of the body is read.
std::vector<Row> Refusals() {
  const std::string guarded = "POST /v1/guarded HTTP/1.1\r\nHost: a\r\n";
  return {
      Shut("body without a token", guarded + "Content-Length: 999999\r\n\r\n", {401}),
      Shut("body for an unknown path",
           "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", {404}),
      Shut("body where none is taken", Field("Content-Length: 2") + "{}", {400}),
      Shut("hidden request in a refused body",
           "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n" + kPing, {404}),
      Shut("hidden request in refused chunks",
           "POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + kPing,
           {404}),
      Shut("body of another type",
           "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\n"
           "Content-Length: 2\r\n\r\n{}",
           {415}),
      Shut("body without a type",
           "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", {415}),
      Shut("unknown expectation", kEchoHead + "Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}",
           {417}),
      Shut("list of expectations",
           kEchoHead + "Expect: 100-continue, x\r\nContent-Length: 2\r\n\r\n{}", {417}),
      Shut("empty expectation", Field("Expect:"), {417}),
      Shut("expectation refused", guarded + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
           {401}),
      Shut("expectation of a body that is too large",
           kEchoHead + "Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n", {413}),
      Open("expectation, body to follow",
           kEchoHead + "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", {200}),
      Open("handler throws", Target("/v1/throws") + kPing, {500, 200}),
      Open("handler splits the answer", Target("/v1/splits"), {500}),
      Open("token in the query", Target("/v1/whoami?access_token=good"), {401}),
      Open("token with another scheme",
           Line("GET /v1/whoami HTTP/1.1\r\nAuthorization: Basic good"), {401}),
      Open("admin path over the network", Target("/admin/status"), {404}),
  };
}

std::vector<Row> Rows() {
  std::vector<Row> rows;
  for (auto& part :
       {WellFormed(), RequestLines(), Targets(), Fields(), Framing(), Chunks(), Refusals()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

class Hostile : public ::testing::TestWithParam<bool> {
 protected:
  static std::unique_ptr<RawClient> Connect(const ServerChild& server, bool tls) {
    if (!tls) return std::make_unique<RawClient>(server.port());
    auto client = std::make_unique<TlsClient>(server.tls_port());
    EXPECT_TRUE(client->secure());
    return client;
  }
  std::unique_ptr<RawClient> Connect() const { return Connect(*server_, GetParam()); }

  void Start(const ServerLimits& limits = {}) {
    ServerChildOptions options;
    options.limits = limits;
    options.limits.connections_per_address_max = 300;
    server_ = std::make_unique<ServerChild>(options);
  }

  // As far as every answer must be.
  void CheckForm(const RawResponse& answer) const {
    EXPECT_EQ(answer.Header("x-request-id").size(), 32u);
    EXPECT_EQ(answer.Header("cache-control"), "no-store");
    EXPECT_EQ(answer.Header("x-content-type-options"), "nosniff");
    EXPECT_EQ(answer.Header("date").size(), 29u);
    EXPECT_EQ(answer.Header("server"), "");
    EXPECT_EQ(answer.Header("set-cookie"), "");
    EXPECT_EQ(answer.headers.count("strict-transport-security"), GetParam() ? 1u : 0u);
    const bool bodiless = answer.status == 204 || answer.status == 304;
    EXPECT_EQ(answer.headers.count("content-length"), bodiless ? 0u : 1u);
    if (answer.status == 405) {
      EXPECT_NE(answer.Header("allow"), "");
    }
    if (answer.status >= 400) {
      EXPECT_EQ(answer.Header("content-type"), "application/problem+json");
      EXPECT_EQ(answer.body.find("planted"), std::string::npos);
    }
  }

  void Play(const Row& row) {
    const auto client = Connect();
    client->Send(row.bytes);
    if (row.after == After::kAtEnd) client->HalfClose();
    std::optional<RawResponse> answer;
    // HTTP/1.0 has no persistence of its own: who asks for it must be told.
    bool tell = row.after == After::kOpen && row.bytes.find("HTTP/1.0") != std::string::npos;
    for (const int status : row.statuses) {
      answer = client->Read();
      ASSERT_TRUE(answer) << "closed instead of " << status;
      EXPECT_EQ(answer->status, status);
      CheckForm(*answer);
      if (std::exchange(tell, false)) {
        EXPECT_EQ(answer->Header("connection"), "keep-alive");
      }
    }
    if (row.after == After::kOpen) {
      EXPECT_EQ(answer->Header("connection"), "");
      // An answer too many would be read as this one.
      const auto another = client->Ask(Target("/v1/items/another"));
      ASSERT_TRUE(another) << "closed";
      EXPECT_EQ(another->body, "another");
      return;
    }
    if (answer) {
      EXPECT_EQ(answer->Header("connection"), "close");
    }
    if (row.after == After::kClosed) {
      client->Send(kPing);
      client->HalfClose();
    }
    EXPECT_EQ(client->ReadToEnd(), "");
  }

  std::unique_ptr<ServerChild> server_;
};

TEST_P(Hostile, EveryRowGetsItsAnswerAndNothingIsKept) {
  Start();
  const std::vector<Row> rows = Rows();
  ASSERT_GE(rows.size(), 200u);
  ASSERT_EQ(Connect()->Ask(kPing)->status, 200);  // warm
  const std::size_t before = server_->Resident();
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Play(row);
    const auto good = Connect()->Ask(kPing);
    ASSERT_TRUE(good);
    EXPECT_EQ(good->body, "{\"pong\":true}");
  }
  const std::size_t peak = server_->ResidentPeak();
  std::printf("%zu rows %s: resident %zu KiB before, %zu KiB at the peak\n", rows.size(),
              GetParam() ? "through TLS" : "in the clear", before >> 10, peak >> 10);
  mayfly::testing::ExpectGrowthBelow(before, peak, kGrowthMax);
}

// However a request arrives, it is the same request: cut in two at every byte, and byte by byte.
TEST_P(Hostile, SegmentsDoNotMatter) {
  Start();
  const std::string requests = Target("/v1/items/1") + Length("2", "{}") +
                               Chunked("1\r\n3\r\n0\r\nX-A: b\r\n\r\n") +
                               "HEAD /v1/items/4 HTTP/1.1\r\nHost: a\r\n\r\n" +
                               Line("DELETE /v1/items/5 HTTP/1.1") + Target("/v1/items/6");
  const auto client = Connect();
  const auto expect_all = [&](std::size_t cut) {
    SCOPED_TRACE(cut);
    const std::vector<std::pair<int, std::string>> expected = {{200, "1"}, {200, "{}"}, {200, "3"},
                                                               {200, ""},  {204, ""},   {200, "6"}};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto answer = client->Read(/*to_head_request=*/i == 3);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->status, expected[i].first);
      EXPECT_EQ(answer->body, expected[i].second);
    }
  };
  for (std::size_t cut = 0; cut < requests.size() && !HasFatalFailure(); ++cut) {
    client->Send(requests.substr(0, cut));
    client->Send(requests.substr(cut));
    expect_all(cut);
  }
  for (const char byte : requests) client->Send({&byte, 1});
  expect_all(requests.size());
}

TEST_P(Hostile, HeadIsGetWithoutItsBody) {
  Start();
  const auto client = Connect();
  for (const char* target : {"/v1/ping", "/nothing", "/v1/whoami", "/v1/unchanged", "/v1/throws"}) {
    SCOPED_TRACE(target);
    auto get = client->Ask(Target(target));
    auto head = client->Ask(Line(std::string("HEAD ") + target + " HTTP/1.1"));
    ASSERT_TRUE(get && head);
    EXPECT_EQ(head->status, get->status);
    for (auto* answer : {&*get, &*head}) {
      answer->headers.erase("x-request-id");
      answer->headers.erase("date");
    }
    EXPECT_EQ(head->headers, get->headers);
    // Had a body been sent, the next answer would begin with it.
    EXPECT_EQ(client->Ask(kPing)->status, 200);
  }
}

TEST_P(Hostile, ContinueIsSaidOnlyToWhoWaitsForIt) {
  Start();
  const auto client = Connect();
  const auto go_on = client->Ask(kEchoHead + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  ASSERT_TRUE(go_on);
  EXPECT_EQ(go_on->status, 100);
  EXPECT_EQ(client->Ask("{}")->status, 200);
  // Not to HTTP/1.0, which does not know it.
  const auto old = client->Ask(
      "POST /v1/echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->status, 200);
}

TEST_P(Hostile, OneWhoNeverEndsIsCutAndCostsNoMemory) {
  ServerLimits limits;
  limits.write_deadline = milliseconds(500);
  Start(limits);
  ASSERT_EQ(Connect()->Ask(kPing)->status, 200);
  const std::size_t before = server_->Resident();
  struct Attack {
    const char* name;
    std::string start, block;
  };
  const std::string filler(64u << 10, 'x');
  const Attack attacks[] = {
      {"request line", "GET /", filler},
      {"field value", "GET /v1/ping HTTP/1.1\r\nX: ", filler},
      {"fields", "GET /v1/ping HTTP/1.1\r\n", Repeat(4000, "X-A: b\r\n")},
      {"body with a length", Length("1000000000"), filler},
      {"body without a token",
       "POST /v1/guarded HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n", filler},
      {"body for nobody", "POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
       "ffff\r\n" + filler},
      {"chunks", Chunked(""), Repeat(4000, "1\r\nx\r\n")},
      {"chunk size line", Chunked(""), Repeat(64 << 10, "0")},
      {"chunk extension", Chunked("1;"), filler},
      {"trailer", Chunked("0\r\n"), Repeat(4000, "X-A: b\r\n")},
      {"requests whose answers nobody reads", "", Repeat(500, kPing)},
      {"big answers that nobody reads", "", Repeat(500, Target("/v1/items/" + Repeat(99, "a")))},
      {"behind a last request", Field("Connection: close"), filler},
  };
  for (const Attack& attack : attacks) {
    SCOPED_TRACE(attack.name);
    const auto client = Connect();
    client->Send(attack.start);
    std::size_t sent = 0;
    while (sent < kEndless && client->TrySend(attack.block)) sent += attack.block.size();
    EXPECT_LT(sent, kEndless) << "nothing stopped it";
    EXPECT_EQ(Connect()->Ask(kPing)->status, 200);
  }
  const std::size_t peak = server_->ResidentPeak();
  std::printf("%zu endless attacks %s: resident %zu KiB before, %zu KiB at the peak\n",
              std::size(attacks), GetParam() ? "through TLS" : "in the clear", before >> 10,
              peak >> 10);
  mayfly::testing::ExpectGrowthBelow(before, peak, kGrowthMax);
}

INSTANTIATE_TEST_SUITE_P(Listener, Hostile, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Tls" : "Plain"; });

}  // namespace
}  // namespace mayfly::service::api
