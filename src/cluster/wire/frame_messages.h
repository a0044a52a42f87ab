#pragma once
// Frame's parts as protobuf messages, checked on the way in. Only frame.cpp uses this.

#include "cluster/wire/frame.h"
#include "tandem.pb.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::cluster {

void put(const Tick& tick, v1::Tick& out);
void put(const TickResult& result, v1::TickResult& out);
void put(const StageFailure& failure, v1::StageFailure& out);

Result<Tick> take(const v1::Tick& in);
Result<TickResult> take(const v1::TickResult& in);
Result<StageFailure> take(const v1::StageFailure& in);

/// A malformed frame: `what` names the field and the rule.
Error malformed(std::string what);

}  // namespace tandem::cluster
