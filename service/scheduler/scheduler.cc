#include "service/scheduler/scheduler.h"
