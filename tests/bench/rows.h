// The table that ./dev bench prints: each figure of ours beside its reference, measured in one run.
// Ratios are what counts; absolute figures move with the machine.
#ifndef MAYFLY_TESTS_BENCH_ROWS_H_
#define MAYFLY_TESTS_BENCH_ROWS_H_

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "store/model/json.h"

namespace mayfly::bench {

class Rows {
 public:
  // `bar` is what docs/decisions/0015 and the design ask for; `holds` whether this run met it.
  void Add(const std::string& name, const std::string& unit, double value,
           const std::string& reference_name, double reference, const std::string& bar,
           bool holds) {
    rows_.push_back({name, unit, reference_name, bar, value, reference, holds});
  }

  void Print() const {
    for (const Row& row : rows_) {
      std::printf("%-58s %12.1f %-10s  %12.1f %-40s  ratio %5.2f  bar %-12s %s\n", row.name.c_str(),
                  row.value, row.unit.c_str(), row.reference, row.reference_name.c_str(),
                  row.value / row.reference, row.bar.c_str(), row.holds ? "holds" : "MISSED");
    }
    std::fflush(stdout);
  }

  // One JSON array of rows; false when the file cannot be written.
  bool WriteJson(const std::string& file) const {
    std::string out;
    {
      json::Writer writer(&out);
      writer.StartArray();
      for (const Row& row : rows_) {
        writer.StartObject().Field("name", row.name).Key("value").Double(row.value);
        writer.Field("unit", row.unit).Key("reference").Double(row.reference);
        writer.Field("reference_name", row.reference_name);
        writer.Key("ratio").Double(row.value / row.reference);
        writer.Field("bar", row.bar).Field("holds", row.holds).EndObject();
      }
      writer.EndArray();
    }
    return static_cast<bool>(std::ofstream(file) << out << "\n");
  }

 private:
  struct Row {
    std::string name, unit, reference_name, bar;
    double value = 0, reference = 0;
    bool holds = false;
  };
  std::vector<Row> rows_;
};

}  // namespace mayfly::bench

#endif  // MAYFLY_TESTS_BENCH_ROWS_H_
