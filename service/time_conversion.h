// Between the store's microseconds, seconds, and protobuf's times.
#ifndef LONGLEAF_SERVICE_TIME_CONVERSION_H_
#define LONGLEAF_SERVICE_TIME_CONVERSION_H_

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <cmath>
#include <cstdint>

namespace longleaf::service {

inline constexpr int64_t kMicros = 1'000'000;

// Microseconds since the epoch, by the wall clock.
inline int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

inline google::protobuf::Duration ToDuration(double seconds) {
  google::protobuf::Duration out;
  const double whole = std::floor(seconds);
  out.set_seconds(static_cast<int64_t>(whole));
  out.set_nanos(static_cast<int32_t>((seconds - whole) * 1e9));
  return out;
}

inline google::protobuf::Timestamp ToTimestamp(int64_t micros) {
  google::protobuf::Timestamp out;
  out.set_seconds(micros / kMicros);
  out.set_nanos(static_cast<int32_t>(micros % kMicros) * 1000);
  return out;
}

// Protobuf's own limits: the years 1 to 9999, or 10,000 years, and nanoseconds of the same sign.
inline bool IsValid(const google::protobuf::Timestamp& time) {
  return time.seconds() >= -62135596800 && time.seconds() <= 253402300799 && time.nanos() >= 0 &&
         time.nanos() < 1'000'000'000;
}
inline bool IsValid(const google::protobuf::Duration& duration) {
  constexpr int64_t kLimit = 315576000000;
  return duration.seconds() >= -kLimit && duration.seconds() <= kLimit &&
         duration.nanos() > -1'000'000'000 && duration.nanos() < 1'000'000'000 &&
         (duration.seconds() == 0 || duration.nanos() == 0 ||
          (duration.seconds() > 0) == (duration.nanos() > 0));
}

// Requires a valid timestamp.
inline int64_t FromTimestamp(const google::protobuf::Timestamp& time) {
  return time.seconds() * kMicros + time.nanos() / 1000;
}

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_TIME_CONVERSION_H_
