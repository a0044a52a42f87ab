#pragma once
// How a worker is started: the words of a process, here or over the system's ssh. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/settings.h"
#include "tandem/error.h"

namespace tandem::launch {

/// Where a worker is started, and with what.
struct Target {
  std::string name;            // for people, as it was written
  std::string ssh;             // destination of ssh, "user@host" or a name of ~/.ssh/config; empty:
                               // this machine
  std::uint16_t ssh_port = 0;  // 0: as ssh is configured
  std::string binary;          // of tandem on that host; empty: the one on its PATH
  WorkerSettings settings;
};

/// The argument after `tandem worker` that makes it read settings from its standard input.
inline constexpr const char* kLaunchedFlag = "--launched";

/// A destination: [user@]host, letters, digits and . _ - : % only, and not an option.
Status check_destination(std::string_view text);
/// A path on another machine, which its shell reads: letters, digits and . _ - + @ / ~ only. So no
/// word of a command line ever needs quotes, whatever shell that is.
Status check_binary(std::string_view text);
/// Whether the destination is this machine by its name: localhost, 127.0.0.1, ::1.
bool is_here(std::string_view destination);

/// An IPv4 or IPv6 address in digits.
bool is_address(const std::string& text);

/// argv, program first. `executable`: this binary, for this machine. The target was checked.
std::vector<std::string> worker_command(const Target& target, const std::string& executable);

}  // namespace tandem::launch
