#include "service/command_line.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "service/access/open_package.h"
#include "service/admin_call.h"
#include "service/backup/commands.h"
#include "service/check_receipt.h"
#include "service/master_key_source.h"
#include "service/open_store.h"
#include "service/read_passphrase.h"
#include "service/supervisor/supervisor.h"
#include "service/version.h"
#include "store/keys/descriptor.h"
#include "store/keys/master_key.h"
#include "store/model/json.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

// Past every listener that a configuration can have.
constexpr int kInheritedFdFirst = 64;

// A configuration holds no secret, but where the keys lie is nobody's business.
Status WriteNewFile(const fs::path& file, const std::string& text) {
  const store::Descriptor fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (!fd.open()) {
    return Fail(ErrorCode::kInvalidArgument,
                file.string() + (errno == EEXIST ? ": exists already; init overwrites nothing"
                                                 : ": cannot be written"));
  }
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.get()) != 0) {
    return Fail(ErrorCode::kIo, file.string() + ": could not be written whole");
  }
  return {};
}

std::string TokenRequest(const std::string& role, const std::string& label, int days) {
  std::string body;
  json::Writer(&body)
      .StartObject()
      .Field("role", role)
      .Field("label", label)
      .IntField("days", days)
      .EndObject();
  return body;
}

int CreateToken(const Config& config, const std::string& role_word, const std::string& label,
                int days, bool as_json, const Clock& clock) {
  auto answer = AskService(config, "POST", "/admin/tokens", TokenRequest(role_word, label, days));
  std::string token, id, expires_at;
  if (answer) {
    auto parsed = json::Parse(answer->body);
    if (!parsed) return Complain(parsed.error());
    token = parsed->String("token").value_or("");
    const json::Value* info = parsed->Find("info");
    if (token.empty() || info == nullptr) {
      return Complain({.message = "the service's answer is not one that this version knows"});
    }
    id = info->String("id").value_or("");
    expires_at = info->String("expires_at").value_or("");
  } else if (answer.error().code == ErrorCode::kUnavailable) {
    auto store = OpenAlone(config);
    if (!store) return Complain(store.error());
    const auto role = ParseRole(role_word);
    if (!role) {
      return Complain(
          {.code = ErrorCode::kInvalidArgument,
           .message = "--role must be comms, privacy, administrator, auditor or operator"});
    }
    auto created = (*store)->tokens().Create(*role, label, std::chrono::days(days),
                                             CommandLineActor(), clock.Now());
    if (!created) return Complain(created.error());
    token = created->token.Reveal();
    id = created->info.id;
    expires_at = FormatRfc3339(created->info.expires_at);
  } else {
    return Complain(answer.error());
  }
  if (as_json) {
    std::string out;
    json::Writer(&out)
        .StartObject()
        .Field("id", id)
        .Field("role", role_word)
        .Field("token", token)
        .Field("expires_at", expires_at)
        .EndObject();
    std::cout << out << "\n";
  } else {
    std::cout << token << "\n";
    std::cerr << "Shown once. Role " << role_word << ", valid until " << expires_at << ", id " << id
              << ".\n";
  }
  return 0;
}

int PreviewExpiry(const Config& config, const Clock& clock) {
  auto answer = AskService(config, "POST", "/admin/expire", R"({"dry_run":true})");
  if (answer) {
    std::cout << answer->body << "\n";
    return 0;
  }
  if (answer.error().code != ErrorCode::kUnavailable) return Complain(answer.error());
  auto store = OpenAlone(config);
  if (!store) return Complain(store.error());
  auto due = (*store)->purge().DryRun(clock.Now());
  if (!due) return Complain(due.error());
  std::string out;
  json::Writer writer(&out);
  // The same document as the service gives.
  writer.StartObject().Key("items").StartArray();
  for (const store::Purge::Preview& date : *due) {
    writer.StartObject()
        .Field("day", FormatDay(date.day))
        .IntField("messages", static_cast<std::int64_t>(date.messages))
        .IntField("bytes", static_cast<std::int64_t>(date.bytes))
        .EndObject();
  }
  writer.EndArray().Key("next_cursor").Null().Field("has_more", false).EndObject();
  std::cout << out << "\n";
  return 0;
}

int ShowStatus(const Config& config, const Clock& clock) {
  auto answer = AskService(config, "GET", "/admin/status", "");
  if (answer) {
    std::cout << "{\"running\":true,\"service\":" << answer->body << "}\n";
    return 0;
  }
  if (answer.error().code != ErrorCode::kUnavailable) return Complain(answer.error());
  auto store = OpenAlone(config);
  if (!store) return Complain(store.error());
  const store::Store::ExpiryView view = (*store)->View(clock.Now());
  std::string out;
  json::Writer writer(&out);
  writer.StartObject().Field("running", false);
  writer.Key("oldest_living");
  if (view.oldest_living) {
    writer.String(FormatDay(*view.oldest_living));
  } else {
    writer.Null();
  }
  writer.IntField("due_not_destroyed", static_cast<std::int64_t>(view.due_not_destroyed.size()));
  writer.EndObject();
  std::cout << out << "\n";
  return 0;
}

// Of the running service: nobody else has a certain time.
int ShowClock(const Config& config) {
  auto answer = AskService(config, "GET", "/admin/clock", "");
  if (!answer) return Complain(answer.error());
  std::cout << answer->body << "\n";
  return 0;
}

int ConfirmClock(const Config& config, const std::string& time) {
  std::string body;
  json::Writer(&body).StartObject().Field("time", time).EndObject();
  auto answer = AskService(config, "POST", "/admin/clock", body);
  if (!answer) return Complain(answer.error());
  std::cout << answer->body << "\n";
  return 0;
}

int ReloadCertificate(const Config& config) {
  auto answer = AskService(config, "POST", "/admin/reload", "");
  if (!answer) {
    // Whatever it was, the running service goes on with the certificate that it has.
    std::cerr << "mayfly: not reloaded: " << answer.error().message << "\n";
    return 1;
  }
  std::cout << answer->body << "\n";
  return 0;
}

// The body of a request that carries a master key. The caller wipes it.
std::string KeyRequest(const char* member, const std::string& value) {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject();
  if (member != nullptr) writer.Field(member, value);
  writer.EndObject();
  return body;
}

int PassKeyOn(const Config& config, const char* target, std::string body) {
  auto answer = AskService(config, "POST", target, body);
  WipeString(body);
  if (!answer) return Complain(answer.error());
  return 0;
}

int Unseal(const Config& config, int passphrase_fd) {
  if (config.key_source == KeySource::kPassphrase) {
    const auto passphrase = ReadPassphrase(passphrase_fd, "Passphrase: ");
    if (!passphrase) return Complain(passphrase.error());
    return PassKeyOn(config, "/admin/unseal", KeyRequest("passphrase", passphrase->Reveal()));
  }
  auto masters = LoadMasterKeys(config);
  if (!masters) return Complain(masters.error());
  int code = 1;
  for (const MasterKey& master : *masters) {
    std::string line = store::RenderMasterKey(master.key);
    code = PassKeyOn(config, "/admin/unseal", KeyRequest("master_key", line));
    WipeString(line);
    if (code == 0) break;
  }
  return code;
}

// The next key lies where the next start finds it before the first key file is wrapped with it, and
// the old one goes when the last one is. Interrupted anywhere, the same command goes on.
int RotateMasterKey(const Config& config, int passphrase_fd) {
  constexpr const char* kTarget = "/admin/master-key/rotate";
  if (config.key_source == KeySource::kPassphrase) {
    const auto passphrase = ReadNewPassphrase(passphrase_fd);
    if (!passphrase) return Complain(passphrase.error());
    const int code = PassKeyOn(config, kTarget, KeyRequest("passphrase", passphrase->Reveal()));
    if (code == 0) std::cout << "From now on the new passphrase opens the keys, and no other.\n";
    return code;
  }
  if (config.key_source == KeySource::kCredential) {
    const int code = PassKeyOn(config, kTarget, KeyRequest(nullptr, ""));
    if (code == 0) {
      std::cout << "The keys are under " << kNextCredentialName << ". Make it " << kCredentialName
                << " in the unit before the next start, drop the second line, and destroy the old "
                   "key.\n";
    }
    return code;
  }
  // The new file is its maker's, and the service must be able to read it at the next start.
  struct stat present {};
  if (::stat(config.master_key.c_str(), &present) == 0 && present.st_uid != ::geteuid()) {
    return Complain({.code = ErrorCode::kInvalidArgument,
                     .message = config.master_key.string() + ": belongs to user " +
                                std::to_string(present.st_uid) + "; run this as that user"});
  }
  const fs::path next = store::NextMasterKeyFile(config.master_key);
  std::error_code error;
  if (!fs::exists(next, error)) {
    if (auto made = store::CreateMasterKey(next); !made) return Complain(made.error());
  }
  const auto key = store::LoadMasterKey(next);
  if (!key) return Complain(key.error());
  std::string line = store::RenderMasterKey(*key);
  const int code = PassKeyOn(config, kTarget, KeyRequest("master_key", line));
  WipeString(line);
  if (code != 0) {
    std::cerr << "mayfly: " << next.string() << " stays: run the command again\n";
    return code;
  }
  if (auto adopted = store::AdoptNextMasterKey(config.master_key); !adopted) {
    return Complain(adopted.error());
  }
  std::cout << "The keys are under the new master key in " << config.master_key.string()
            << ". The old one opens nothing any more; replace your copy of it.\n";
  return 0;
}

// A descriptor from which the core reads the passphrase, or -1. Asks at the terminal in a process
// of its own: the supervisor, which this process becomes, never sees it.
int PassphraseDescriptor(const Config& config, int passphrase_fd) {
  if (config.key_source != KeySource::kPassphrase) return -1;
  if (passphrase_fd >= 0) return ::fcntl(passphrase_fd, F_DUPFD, kInheritedFdFirst);
  if (::isatty(STDIN_FILENO) == 0) return -1;  // then `mayfly unseal` it is
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::close(ends[0]);
    auto passphrase = ReadPassphrase(-1, "Passphrase: ");
    if (!passphrase) ::_exit(Complain(passphrase.error()));
    std::string line = passphrase->Reveal() + "\n";
    const bool passed =
        ::write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size());
    WipeString(line);
    ::_exit(passed ? 0 : 1);
  }
  ::close(ends[1]);
  const int fd = child > 0 ? ::fcntl(ends[0], F_DUPFD, kInheritedFdFirst) : -1;
  ::close(ends[0]);
  return fd;
}

Status CheckTls(const Config& config, const Clock& clock) {
  for (const fs::path& directory : api::TlsDirectories(*config.tls)) {
    if (MayBeReadWhole(directory, config)) continue;
    return Fail(ErrorCode::kInvalidArgument,
                directory.string() +
                    ": a link leads there, and the core may not read all that is in there; put the "
                    "files themselves into a directory of their own");
  }
  MAYFLY_ASSIGN_OR_RETURN([[maybe_unused]] const api::TlsPair pair,
                          api::LoadTlsPair(*config.tls, clock.Now()));
  return {};
}

// In a process of its own: the supervisor, which this process becomes, never sees the key. 0, or
// kExitConfig after a sentence on standard error.
int TryCertificate(const Config& config, const Clock& clock) {
  const pid_t child = ::fork();
  if (child < 0) return Complain({.code = ErrorCode::kIo, .message = "no process can be started"});
  if (child == 0) {
    const Status usable = CheckTls(config, clock);
    if (!usable) {
      std::cerr << config.file.string() << ": http.tls: " << usable.error().message << std::endl;
    }
    ::_exit(usable ? 0 : kExitConfig);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int Serve(const Config& config, const ProgramTraits& traits, const Clock& clock,
          int passphrase_fd) {
  if (config.tls) {
    if (const int code = TryCertificate(config, clock); code != 0) return code;
  }
  const fs::path program = ProgramPath();
  SupervisorOptions options;
  options.core_program = program;
  options.core_arguments = {"core", "--config", config.file.string()};
  if (traits.core_arguments) {
    for (std::string& argument : traits.core_arguments()) {
      options.core_arguments.push_back(std::move(argument));
    }
  }
  options.worker_program = program.parent_path() / "mayfly-worker";
  if (const int fd = PassphraseDescriptor(config, passphrase_fd); fd >= 0) {
    options.inherit.push_back(fd);
    options.core_arguments.push_back("--passphrase-fd");
    options.core_arguments.push_back(std::to_string(fd));
  }
  options.listen = config.listen;
  options.admin_socket = config.admin_socket();
  options.port_file = config.port_file();
  options.drain_deadline = config.drain_deadline;
  if (const auto delay = traits.core_restart_delay ? traits.core_restart_delay() : std::nullopt) {
    options.restart_delay_first = options.restart_delay_max = *delay;
  }
  if (!config.egress.ca_file.empty()) options.worker_read_paths = {config.egress.ca_file};
  std::error_code error;
  if (!fs::exists(options.worker_program, error)) {
    return Complain({.code = ErrorCode::kInvalidArgument,
                     .message = options.worker_program.string() +
                                ": is missing; it belongs beside " + program.string()});
  }
  if (!fs::is_directory(config.run_dir, error) && !fs::create_directories(config.run_dir, error)) {
    return Complain(
        {.code = ErrorCode::kIo, .message = config.run_dir.string() + ": cannot be made"});
  }
  if (::chmod(config.run_dir.c_str(), 0700) != 0) {
    return Complain(
        {.code = ErrorCode::kIo,
         .message = config.run_dir.string() + ": must belong to the user of the service"});
  }
  return RunSupervisor(options);
}

}  // namespace

fs::path ProgramPath() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error);
}

Status Initialise(const fs::path& config_file, const InitAnswers& answers,
                  const store::Passphrase& passphrase) {
  std::error_code error;
  const fs::path file = fs::absolute(config_file, error).lexically_normal();
  InitAnswers absolute = answers;
  for (fs::path* path : {&absolute.data_dir, &absolute.master_key, &absolute.run_dir}) {
    *path = fs::absolute(*path, error).lexically_normal();
  }
  if (fs::exists(file, error)) {
    return Fail(ErrorCode::kInvalidArgument,
                file.string() + ": exists already; init overwrites nothing");
  }
  const std::string text = RenderConfig(absolute);
  MAYFLY_ASSIGN_OR_RETURN(const Config config, ParseConfig(text, file));
  fs::create_directories(file.parent_path(), error);
  fs::create_directories(absolute.master_key.parent_path(), error);
  MAYFLY_RETURN_IF_ERROR(CreateStore(config, absolute.master_key, passphrase));
  return WriteNewFile(file, text);
}

int RunCommandLine(int argc, char** argv, const ProgramTraits& traits) {
  ::umask(077);
  CLI::App app("Mayfly, the social inbox that forgets.", traits.name);
  app.require_subcommand(1);
  std::string config_file = "/etc/mayfly/mayfly.toml";
  const auto with_config = [&](CLI::App* command) {
    command->add_option("--config", config_file, "Configuration file")->capture_default_str();
    return command;
  };

  std::string dir;
  InitAnswers answers{.data_dir = "/var/lib/mayfly",
                      .master_key = "/etc/mayfly/master.key",
                      .run_dir = "/run/mayfly",
                      .listen = {"127.0.0.1:8080"}};
  CLI::App* init = with_config(app.add_subcommand(
      "init", "Make configuration, master key, keys and store. Overwrites nothing."));
  init->add_option("--dir", dir, "Put everything below this directory");
  init->add_option("--data", answers.data_dir, "Directory of the data")->capture_default_str();
  init->add_option("--master-key", answers.master_key, "File of the master key")
      ->capture_default_str();
  init->add_option("--run", answers.run_dir, "Directory of the sockets")->capture_default_str();
  init->add_option("--listen", answers.listen, "Addresses, such as 127.0.0.1:8080 or unix:/path")
      ->capture_default_str();
  init->add_flag("--any-file-system", answers.any_file_system,
                 "Go on where overwritten keys may stay on the disk; /v1/about says so");
  init->add_flag("--insecure-loopback", answers.insecure_loopback,
                 "Allow plain HTTP to platform imitations on this machine");

  std::string keys = "file";
  init->add_option("--keys", keys, "Where the master key will come from")
      ->check(CLI::IsMember({"file", "credential", "passphrase"}))
      ->capture_default_str();
  int passphrase_fd = -1;
  const auto with_passphrase = [&](CLI::App* command) {
    command
        ->add_option("--passphrase-fd", passphrase_fd,
                     "Read the passphrase from this descriptor instead of the terminal")
        ->check(CLI::Range(0, 1'000'000));
    return command;
  };
  with_passphrase(init);

  CLI::App* serve = with_passphrase(with_config(app.add_subcommand("serve", "Run the service.")));
  CLI::App* unseal = with_passphrase(with_config(
      app.add_subcommand("unseal", "Give the running, sealed service its master key.")));
  CLI::App* key = app.add_subcommand("key", "The master key.");
  key->require_subcommand(1);
  CLI::App* key_create = key->add_subcommand(
      "create", "Make the file of a master key, to be handed to the service manager.");
  std::string key_file;
  key_create->add_option("file", key_file, "Overwrites nothing")->required();
  CLI::App* key_rotate = with_passphrase(with_config(
      key->add_subcommand("rotate", "Put the running service's keys under a new master key.")));
  CLI::App* core = with_config(app.add_subcommand("core", "Started by serve."));
  core->group("");
  with_passphrase(core);
  CLI::App* token = app.add_subcommand("token", "Bearer tokens of the REST API.");
  token->require_subcommand(1);
  CLI::App* token_create =
      with_config(token->add_subcommand("create", "Make a token; shown once."));
  std::string role, label;
  int days = 30;
  bool as_json = false;
  token_create->add_option("--role", role, "comms, privacy, administrator, auditor or operator")
      ->required()
      ->check(CLI::IsMember({"comms", "privacy", "administrator", "auditor", "operator"}));
  token_create->add_option("--label", label, "Whose it is, for the list of tokens")->required();
  token_create->add_option("--days", days, "Days until it ends")
      ->check(CLI::Range(1, 90))
      ->capture_default_str();
  token_create->add_flag("--json", as_json, "Print JSON");
  CLI::App* expire = with_config(app.add_subcommand("expire", "What expiry would end now."));
  bool dry_run = false;
  expire->add_flag("--dry-run", dry_run, "Change nothing: expiry itself needs nobody")->required();
  CLI::App* status =
      with_config(app.add_subcommand("status", "State of the service or its store."));
  CLI::App* reload = with_config(
      app.add_subcommand("reload", "Read the certificate of [http.tls] again; connections go on."));
  CLI::App* clock_shown = with_config(app.add_subcommand(
      "clock", "Which time the service is certain of, and what the machine's clock shows."));
  CLI::App* clock_confirm = with_config(clock_shown->add_subcommand(
      "confirm", "A person's word that the machine's clock is right, while it is in doubt."));
  std::string time;
  clock_confirm
      ->add_option("--time", time, "What another clock shows, such as 2026-11-22T12:00:00Z")
      ->required();
  CLI::App* backup = with_config(app.add_subcommand(
      "backup",
      "Copy the store, never the keys, into a directory; also while the service runs. What an "
      "earlier backup there has already is not copied again."));
  BackupArguments backup_arguments;
  backup->add_option("dir", backup_arguments.dir, "Directory of the backups, not below the data")
      ->required();
  backup->add_option("--keep", backup_arguments.keep, "Finished backups that stay in it")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  backup->add_flag("--json", backup_arguments.as_json, "Print JSON");
  CLI::App* restore = with_config(app.add_subcommand(
      "restore",
      "Put a backup in the place of the store, while no service runs. Dates that ended stay ended; "
      "replies are not sent again."));
  RestoreArguments restore_arguments;
  restore->add_option("dir", restore_arguments.dir, "A backup, or the directory: then the newest")
      ->required();
  CLI::Option* check =
      restore->add_flag("--check", restore_arguments.check,
                        "Only read it whole, try today's keys on it, and say what would come back");
  restore->add_flag("--force", restore_arguments.force, "Destroy the store that is there now")
      ->excludes(check);
  restore->add_flag("--json", restore_arguments.as_json, "Print JSON");
  CLI::App* verify = with_config(app.add_subcommand(
      "verify",
      "Look through every byte of the data, or of a backup, for what should be gone, and open what "
      "should be there. Exit code 3 when something is found."));
  VerifyArguments verify_arguments;
  verify->add_option("dir", verify_arguments.dir, "A backup, or a directory of them");
  verify
      ->add_option("--sample", verify_arguments.sample,
                   "Open so many messages of each date instead of every record")
      ->check(CLI::Range(1, 1'000'000));
  verify->add_flag("--json", verify_arguments.as_json, "Print JSON");
  CLI::App* check_receipt = app.add_subcommand(
      "check-receipt",
      "Check the signatures of receipts, offline. Exit code 3 when one does not hold.");
  CheckReceiptArguments receipt_arguments;
  check_receipt
      ->add_option(
          "file", receipt_arguments.file,
          "One receipt or a list of them, as the REST API gives them; - for standard input")
      ->required();
  check_receipt
      ->add_option("--key", receipt_arguments.key, "receipt_key of the installation's /v1/about")
      ->required();
  CLI::App* package_key = app.add_subcommand(
      "package-key",
      "Make a key for access packages; prints its recipient. For the officer's desk.");
  fs::path package_key_file;
  package_key->add_option("file", package_key_file, "The key, to be kept")->required();
  CLI::App* open_package = app.add_subcommand(
      "open-package",
      "Open and check an access package, offline. Exit code 3 when it is not as it was packed.");
  OpenPackageArguments package_arguments;
  open_package->add_option("package", package_arguments.package, "As it was downloaded")
      ->required();
  open_package
      ->add_option("--identity", package_arguments.identity, "The key that package-key made")
      ->required();
  open_package->add_option("--to", package_arguments.to, "A directory that is made")->required();
  open_package->add_option("--key", package_arguments.key,
                           "receipt_key of the installation's /v1/about");
  CLI::App* version = app.add_subcommand("version", "Print the version.");

  if (traits.extend) traits.extend(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }

  if (*version) {
    std::cout << traits.name << " " << kVersion << "\n";
    return 0;
  }
  if (*package_key) return PackageKeyCommand(package_key_file);
  if (*open_package) return OpenPackageCommand(package_arguments);
  if (*check_receipt) return CheckReceiptCommand(receipt_arguments);
  if (*key_create) {
    if (auto made = store::CreateMasterKey(key_file); !made) return Complain(made.error());
    return 0;
  }
  if (*init) {
    if (!dir.empty()) {
      const fs::path base(dir);
      config_file = (base / "mayfly.toml").string();
      answers.data_dir = base / "data";
      answers.master_key = base / "master.key";
      answers.run_dir = base / "run";
    }
    store::Passphrase passphrase;
    if (keys == "passphrase") {
      auto read = ReadNewPassphrase(passphrase_fd);
      if (!read) return Complain(read.error());
      passphrase = *std::move(read);
      answers.key_source = KeySource::kPassphrase;
    } else if (keys == "credential") {
      answers.key_source = KeySource::kCredential;
    }
    if (auto made = Initialise(config_file, answers, passphrase); !made) {
      return Complain(made.error());
    }
    if (answers.key_source == KeySource::kCredential) {
      std::cout << "Hand " << answers.master_key.string()
                << " to the service manager as the credential " << kCredentialName
                << ", then take the file away.\n";
    }
    std::cout << "Made " << config_file << ". Next: put your organisation's words into it, then\n  "
              << traits.name << " serve --config " << config_file << "\n";
    return 0;
  }
  CoreHooks hooks = traits.core_hooks ? traits.core_hooks() : CoreHooks();
  hooks.passphrase_fd = passphrase_fd;
  if (*core) return RunCore(config_file, hooks);
  // Only our own commands need the configuration here; those of traits.extend ran in their
  // callbacks.
  if (!*serve && !*token_create && !*expire && !*status && !*reload && !*clock_shown && !*unseal &&
      !*key_rotate && !*backup && !*restore && !*verify) {
    return 0;
  }
  auto config = LoadConfig(config_file);
  if (!config) return Complain(config.error());
  if (*reload) return ReloadCertificate(*config);
  if (*clock_confirm) return ConfirmClock(*config, time);
  if (*clock_shown) return ShowClock(*config);
  if (*unseal) return Unseal(*config, passphrase_fd);
  if (*key_rotate) return RotateMasterKey(*config, passphrase_fd);
  const std::unique_ptr<Clock> clock =
      hooks.make_clock ? hooks.make_clock() : std::make_unique<SystemClock>();
  if (clock == nullptr) return kExitConfig;  // make_clock has said why
  if (*serve) return Serve(*config, traits, *clock, passphrase_fd);
  if (*token_create) return CreateToken(*config, role, label, days, as_json, *clock);
  if (*expire) return PreviewExpiry(*config, *clock);
  if (*backup) return BackupCommand(*config, backup_arguments, *clock);
  if (*restore) return RestoreCommand(*config, restore_arguments, *clock);
  if (*verify) return VerifyCommand(*config, verify_arguments, *clock);
  return ShowStatus(*config, *clock);
}

}  // namespace mayfly::service
