// The zstd dictionary that records are compressed with. It is part of the record format: its bytes
// never change. A better one would be records-2, under a flag of its own in the sealed plaintext.
//
// It was trained on synthetic text only (dictionary/README.md). A dictionary trained on messages
// would keep fragments of them past their expiry.
#ifndef MAYFLY_STORE_KEYS_DICTIONARY_H_
#define MAYFLY_STORE_KEYS_DICTIONARY_H_

#include <string_view>

namespace mayfly::store {

// The bytes of dictionary/records-1.zdict.
std::string_view RecordsDictionary1();

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_DICTIONARY_H_
