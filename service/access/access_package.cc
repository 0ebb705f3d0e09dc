#include "service/access/access_package.h"

#include <sodium.h>
#include <utility>

#include "service/access/zip.h"
#include "service/api/signed_receipt.h"
#include "store/model/json.h"
#include "store/model/sensitive.h"

namespace mayfly::service {
namespace {

constexpr std::size_t kMessagesAtOnce = 100;

// Ends of file names, so that a double-click opens the right program. Everything else is .bin.
const char* KindOf(const std::string& media_type) {
  struct Kind {
    const char* media_type;
    const char* end;
  };
  static constexpr Kind kKinds[] = {
      {"image/jpeg", "jpg"},      {"image/png", "png"},   {"image/gif", "gif"},
      {"image/webp", "webp"},     {"image/avif", "avif"}, {"image/heic", "heic"},
      {"application/pdf", "pdf"}, {"audio/ogg", "ogg"},   {"audio/flac", "flac"},
      {"audio/mpeg", "mp3"},      {"audio/mp4", "m4a"},   {"audio/wav", "wav"},
      {"video/webm", "webm"},     {"video/mp4", "mp4"},   {"video/quicktime", "mov"},
      {"video/x-msvideo", "avi"},
  };
  for (const Kind& kind : kKinds) {
    if (media_type == kind.media_type) return kind.end;
  }
  return "bin";
}

std::string FileOf(const MessageId& message, const Attachment& attachment) {
  return "attachments/" + message.ToString() + "-" + std::to_string(attachment.number) + "." +
         KindOf(attachment.media_type);
}

std::string Escaped(const std::string& text) {
  std::string html;
  html.reserve(text.size() + text.size() / 8);
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\0':
        html += "\xef\xbf\xbd";
        break;
      default:
        html += c;
    }
  }
  return html;
}

bool IsGone(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kExpired;
}

}  // namespace

struct AccessPackage::Impl {
  Impl(store::Store& store_in, const Clock& clock_in, store::Look look_in,
       store::HeldPerson held_in, api::AboutText about_in, AgeSealer sealer_in)
      : store(store_in),
        clock(clock_in),
        look(std::move(look_in)),
        held(std::move(held_in)),
        about(std::move(about_in)),
        sealer(std::move(sealer_in)),
        made_at(clock.Now()),
        zip([this](std::string_view bytes) { sealer.Append(bytes, &out); }, made_at) {}

  enum class Phase { kAbout, kLines, kPage, kAttachments, kManifest, kDone };

  struct File {
    std::string name;
    std::uint64_t bytes = 0;
    std::string sha256;  // hex
  };
  struct KeptAttachment {
    MessageId message;
    std::uint16_t number = 0;
    std::string name;
  };

  // --- files of the zip

  Status Begin(const std::string& name) {
    MAYFLY_RETURN_IF_ERROR(zip.Begin(name));
    files.push_back({.name = name});
    crypto_hash_sha256_init(&hash);
    return {};
  }
  // Wipes `bytes`.
  Status Write(std::string bytes) {
    crypto_hash_sha256_update(&hash, reinterpret_cast<const unsigned char*>(bytes.data()),
                              bytes.size());
    files.back().bytes += bytes.size();
    const Status written = zip.Write(bytes);
    WipeString(bytes);
    return written;
  }
  Status End() {
    std::array<char, crypto_hash_sha256_BYTES> sum;
    crypto_hash_sha256_final(&hash, reinterpret_cast<unsigned char*>(sum.data()));
    files.back().sha256 = ToHex(std::string_view(sum.data(), sum.size()));
    return zip.End();
  }
  Status Whole(const std::string& name, std::string bytes) {
    MAYFLY_RETURN_IF_ERROR(Begin(name));
    MAYFLY_RETURN_IF_ERROR(Write(std::move(bytes)));
    return End();
  }

  // --- messages

  // Some more of theirs; `more` is false when those were the last.
  Result<std::vector<Message>> SomeMessages(bool* more) {
    std::vector<Message> theirs;
    *more = conversation < held.conversations.size();
    if (!*more) return theirs;
    const store::HeldPerson::In& in = held.conversations[conversation];
    auto page =
        store.conversations().Messages(look, in.conversation, after, kMessagesAtOnce, clock.Now());
    if (!page && !IsGone(page.error())) return Fail(std::move(page).error());
    if (page) {
      for (Message& message : page->items) {
        const bool own = message.direction == Direction::kIncoming &&
                         message.sender_platform_id == held.person.id;
        if (!in.group || own) theirs.push_back(std::move(message));
      }
    }
    if (!page || page->next.empty()) {
      ++conversation;
      after.clear();
    } else {
      after = page->next;
    }
    *more = conversation < held.conversations.size();
    return theirs;
  }
  void Rewind() {
    conversation = 0;
    after.clear();
  }

  static std::string LineOf(const Message& message) {
    std::string line;
    line.reserve(512 + 2 * message.text.size());
    {
      json::Writer writer(&line);
      writer.StartObject();
      writer.Field("id", message.id.ToString());
      writer.Field("conversation", message.conversation.ToString());
      writer.Field("direction", ToString(message.direction));
      writer.Field("sent_at", FormatRfc3339(message.sent_at));
      writer.Field("received_at", FormatRfc3339(message.received_at));
      writer.Key("edited_at");
      if (message.edited_at) {
        writer.String(FormatRfc3339(*message.edited_at));
      } else {
        writer.Null();
      }
      writer.Field("expires_at", FormatRfc3339(message.expires_at));
      writer.Field("sender_handle", message.sender_handle.Reveal());
      writer.Field("sender_name", message.sender_name.Reveal());
      const bool readable = message.unreadable == UnreadableReason::kNone;
      writer.Key("text");
      if (readable) {
        writer.String(message.text.Reveal());
      } else {
        writer.Null();
      }
      writer.Key("attachments").StartArray();
      for (const Attachment& attachment : message.attachments) {
        writer.StartObject();
        writer.Field("name", attachment.name.Reveal());
        writer.Field("state", ToString(attachment.state));
        writer.Field("media_type", attachment.media_type);
        writer.Key("file");
        if (attachment.state == AttachmentState::kKept) {
          writer.String(FileOf(message.id, attachment));
        } else {
          writer.Null();
        }
        writer.EndObject();
      }
      writer.EndArray();
      writer.EndObject();
    }
    line += '\n';
    return line;
  }

  static std::string ParagraphOf(const Message& message) {
    const bool theirs = message.direction == Direction::kIncoming;
    std::string html = "<section>\n<h2>" + FormatRfc3339(message.sent_at) + ", " +
                       (theirs ? "from you" : "from us to you") + "</h2>\n<p>";
    html += message.unreadable == UnreadableReason::kNone
                ? Escaped(message.text.Reveal())
                : std::string("(cannot be read: ") + ToString(message.unreadable) + ")";
    html += "</p>\n";
    for (const Attachment& attachment : message.attachments) {
      const std::string name = attachment.name.empty()
                                   ? "attachment " + std::to_string(attachment.number)
                                   : Escaped(attachment.name.Reveal());
      if (attachment.state == AttachmentState::kKept) {
        html +=
            "<p>File: <a href=\"" + FileOf(message.id, attachment) + "\">" + name + "</a></p>\n";
      } else {
        html += "<p>File: " + name + " (not kept)</p>\n";
      }
    }
    html += "<p><small>We destroy this at " + FormatRfc3339(message.expires_at) +
            ".</small></p>\n</section>\n";
    return html;
  }

  // --- phases, a step each

  Status About() {
    std::string text =
        "What " + about.organisation + " holds of you, as of " + FormatRfc3339(made_at) + "\n\n";
    text += "You on the platform: " + held.contact.display_name.Reveal() + " (" +
            held.contact.handle.Reveal() + ", " + held.person.id.Reveal() + ")\n\n";
    text += "What it is used for:  " + about.purposes + "\n";
    text += "Who receives it:      " + about.recipients + "\n";
    text += "Where it lies:        " + about.data_location + "\n";
    text += "Whom to ask:          " + about.contact + "\n";
    text +=
        "How long it is kept:  each message until the date that stands with it, at most three "
        "calendar months after it was sent. Nothing lengthens that.\n\n";
    text +=
        "messages.html is for reading, messages.ndjson says the same for programs, a message a "
        "line: id, conversation, direction (incoming: you wrote it), sent_at, received_at, "
        "edited_at, expires_at, sender_handle, sender_name, text, attachments.\n";
    text += "Of a group only what you wrote is in here. Files are as you sent them.\n";
    text +=
        "manifest.json proves that nothing of this was changed; `mayfly open-package` checks "
        "it.\n";
    MAYFLY_RETURN_IF_ERROR(Whole("about.txt", std::move(text)));
    MAYFLY_RETURN_IF_ERROR(Begin("messages.ndjson"));
    phase = Phase::kLines;
    return {};
  }

  Status Lines() {
    bool more = false;
    MAYFLY_ASSIGN_OR_RETURN(const auto messages, SomeMessages(&more));
    for (const Message& message : messages) {
      ++count;
      for (const Attachment& attachment : message.attachments) {
        if (attachment.state != AttachmentState::kKept) continue;
        attachments.push_back({message.id, attachment.number, FileOf(message.id, attachment)});
      }
      MAYFLY_RETURN_IF_ERROR(Write(LineOf(message)));
    }
    if (more) return {};
    MAYFLY_RETURN_IF_ERROR(End());
    Rewind();
    MAYFLY_RETURN_IF_ERROR(Begin("messages.html"));
    phase = Phase::kPage;
    return Write(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>What is held of "
        "you</title>\n<style>body{max-width:40em;margin:2em auto;font-family:sans-serif}"
        "p{white-space:pre-wrap}</style>\n<h1>What " +
        Escaped(about.organisation) + " holds of you</h1>\n");
  }

  Status Page() {
    bool more = false;
    MAYFLY_ASSIGN_OR_RETURN(const auto messages, SomeMessages(&more));
    for (const Message& message : messages) MAYFLY_RETURN_IF_ERROR(Write(ParagraphOf(message)));
    if (more) return {};
    MAYFLY_RETURN_IF_ERROR(Write("</html>\n"));
    phase = Phase::kAttachments;
    return End();
  }

  // One piece of one file.
  Status AttachmentBytes() {
    if (attachment == attachments.size()) {
      phase = Phase::kManifest;
      return {};
    }
    const KeptAttachment& kept = attachments[attachment];
    if (offset == 0) MAYFLY_RETURN_IF_ERROR(Begin(kept.name));
    auto piece = store.attachments().Read(look, kept.message, kept.number, offset, clock.Now());
    if (!piece && !IsGone(piece.error())) return Fail(std::move(piece).error());
    if (piece && !piece->empty()) {
      offset += piece->size();
      return Write(*std::move(piece));
    }
    offset = 0;
    ++attachment;
    return End();
  }

  Status Manifest() {
    std::string text;
    {
      json::Writer writer(&text);
      api::RenderSigned(writer, store, [&](json::Writer& members) {
        members.Field("format", kPackageFormat);
        members.Field("made_at", FormatRfc3339(made_at));
        members.Field("account", held.person.account.ToString());
        members.Key("messages").Uint(count);
        members.Key("files").StartArray();
        for (const File& file : files) {
          members.StartObject();
          members.Field("name", file.name);
          members.Key("bytes").Uint(file.bytes);
          members.Field("sha256", file.sha256);
          members.EndObject();
        }
        members.EndArray();
      });
    }
    MAYFLY_RETURN_IF_ERROR(Whole("manifest.json", std::move(text)));
    MAYFLY_RETURN_IF_ERROR(zip.Finish());
    sealer.Finish(&out);
    phase = Phase::kDone;
    return {};
  }

  Status Step() {
    switch (phase) {
      case Phase::kAbout:
        return About();
      case Phase::kLines:
        return Lines();
      case Phase::kPage:
        return Page();
      case Phase::kAttachments:
        return AttachmentBytes();
      case Phase::kManifest:
        return Manifest();
      case Phase::kDone:
        break;
    }
    return {};
  }

  store::Store& store;
  const Clock& clock;
  const store::Look look;
  const store::HeldPerson held;
  const api::AboutText about;
  AgeSealer sealer;
  const TimePoint made_at;
  std::string out;  // sealed, not yet given out
  ZipWriter zip;
  Phase phase = Phase::kAbout;
  std::vector<File> files;
  crypto_hash_sha256_state hash;
  std::size_t conversation = 0;
  std::string after;
  std::uint64_t count = 0;
  std::vector<KeptAttachment> attachments;
  std::size_t attachment = 0;
  std::uint64_t offset = 0;
};

AccessPackage::AccessPackage(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AccessPackage::~AccessPackage() = default;

Result<std::unique_ptr<AccessPackage>> AccessPackage::Begin(store::Store& store, const Clock& clock,
                                                            store::Look look,
                                                            store::HeldPerson held,
                                                            api::AboutText about,
                                                            const AgeKey& recipient) {
  MAYFLY_ASSIGN_OR_RETURN(AgeSealer sealer, AgeSealer::Begin(recipient));
  return std::unique_ptr<AccessPackage>(new AccessPackage(std::make_unique<Impl>(
      store, clock, std::move(look), std::move(held), std::move(about), std::move(sealer))));
}

Result<std::string> AccessPackage::Next() {
  while (impl_->out.empty() && impl_->phase != Impl::Phase::kDone) {
    MAYFLY_RETURN_IF_ERROR(impl_->Step());
  }
  return std::exchange(impl_->out, {});
}

}  // namespace mayfly::service
