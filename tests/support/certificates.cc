#include "tests/support/certificates.h"

#include <chrono>
#include <fstream>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "store/model/clock.h"

namespace mayfly::testing {
namespace {

using BioPtr = std::unique_ptr<BIO, OpensslDeleter<BIO_free>>;

std::time_t Seconds(TimePoint at) {
  return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
}

void AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension =
      Must(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()), "extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

std::string Text(const BioPtr& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<std::size_t>(size));
}

void Write(const std::filesystem::path& file, const std::string& text) {
  namespace fs = std::filesystem;
  fs::path draft = file;
  draft += ".new";
  std::ofstream(draft, std::ios::trunc) << text;
  fs::permissions(draft, fs::perms::owner_read | fs::perms::owner_write);
  fs::rename(draft, file);
}

}  // namespace

Validity AroundNow() {
  const TimePoint now = SystemClock().Now();
  return {now - std::chrono::hours(24), now + std::chrono::hours(24)};
}

KeyPtr MakeKey() { return KeyPtr(Must(EVP_EC_gen("P-256"), "key")); }

CertificatePtr MakeCertificate(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                               const std::string& alternative, const Validity& validity) {
  CertificatePtr out(Must(X509_new(), "certificate"));
  X509_set_version(out.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(out.get()), issuer == nullptr ? 1 : 2);
  ASN1_TIME_set(X509_getm_notBefore(out.get()), Seconds(validity.from));
  ASN1_TIME_set(X509_getm_notAfter(out.get()), Seconds(validity.until));
  X509_set_pubkey(out.get(), key);
  X509_NAME* subject = X509_get_subject_name(out.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509* signer = issuer == nullptr ? out.get() : issuer;
  X509_set_issuer_name(out.get(), X509_get_subject_name(signer));
  AddExtension(out.get(), signer, NID_basic_constraints,
               issuer == nullptr ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!alternative.empty()) AddExtension(out.get(), signer, NID_subject_alt_name, alternative);
  Must(X509_sign(out.get(), issuer_key, EVP_sha256()), "signature");
  return out;
}

std::string ToPem(X509* certificate) {
  const BioPtr bio(Must(BIO_new(BIO_s_mem()), "memory"));
  Must(PEM_write_bio_X509(bio.get(), certificate), "pem");
  return Text(bio);
}

std::string ToPem(EVP_PKEY* key, const char* password) {
  const BioPtr bio(Must(BIO_new(BIO_s_mem()), "memory"));
  const EVP_CIPHER* cipher = password == nullptr ? nullptr : EVP_aes_256_cbc();
  const int size = password == nullptr ? 0 : static_cast<int>(std::string_view(password).size());
  Must(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, cipher, const_cast<char*>(password), size,
                                     nullptr, nullptr),
       "pem");
  return Text(bio);
}

PemPair MakePemPair(const Validity& validity) {
  const KeyPtr key = MakeKey();
  const CertificatePtr certificate = MakeCertificate("localhost", key.get(), nullptr, key.get(),
                                                     "DNS:localhost,IP:127.0.0.1", validity);
  return {ToPem(certificate.get()), ToPem(key.get())};
}

void WritePemPair(const std::filesystem::path& directory, const PemPair& pair) {
  Write(directory / "privkey.pem", pair.private_key);
  Write(directory / "fullchain.pem", pair.certificate);
}

}  // namespace mayfly::testing
