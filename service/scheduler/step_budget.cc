#include "service/scheduler/step_budget.h"
